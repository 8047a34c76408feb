"""What commands print: text of others is shown, and does nothing to the terminal."""

import typer

from common.plain import lines


def show(text: str) -> None:
    """Print `text` and the end of its line."""
    typer.echo(lines(text))
