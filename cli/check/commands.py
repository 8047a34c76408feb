"""The commands `slipway check` and `slipway init`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="The folder of the model's repository.")] = Path(),
    paths: Annotated[
        list[str] | None,
        typer.Option("--paths", help="What else of its repository it uses, as in models.toml; repeatable."),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Then serve the model's page until Ctrl-C.")] = False,
) -> None:
    """Build and judge a model as a merge would, with uncommitted changes, on this machine alone.

    Nothing is written in the folder. Environments are kept in SLIPWAY_HOME. Exits with 1, and the line that
    failed, when a merge would be rejected.
    """
    from cli.check.check import check_tree  # noqa: PLC0415 (what builds a model loads slowly)

    check_tree(path, paths or (), serve=serve)


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="The new folder.")] = "my-model",
) -> None:
    """Write a small repository of a model that passes `slipway check`."""
    from cli.check.scaffold import create_repository  # noqa: PLC0415

    create_repository(name)
