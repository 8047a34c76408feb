"""Output of commands: untrusted text is shown, and cannot control the terminal."""

import typer

from common.plain import escape_lines


def print_text(text: str) -> None:
    """Print `text` and a line end."""
    typer.echo(escape_lines(text))
