"""The command line: `slipway up | status | releases | logs | deploy | rollback | train | …`."""

import sys
from typing import Annotated

import typer
from pydantic import ValidationError

from cli import demo, logs, look, operate, screen
from cli.errors import Trouble
from cli.settings import Settings
from common.plain import lines


class Commands(typer.Typer):
    """The one place where what a person must put right becomes one line and exit code 1."""

    def __call__(self) -> None:
        try:
            super().__call__()
        except Trouble as trouble:
            sys.exit(f"slipway: {lines(str(trouble))}")
        except ValidationError as error:
            wrong = (f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
            sys.exit(f"slipway: {'; '.join(wrong)}")


app = Commands(
    help="Takes merged pull requests of a model repository to production, on one machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(demo.app, name="demo")


@app.command()
def up() -> None:
    """Run the whole appliance here, without Docker, until Ctrl-C.

    With nothing configured this is the demo. SLIPWAY_REPOSITORY=owner/name and GITHUB_TOKEN follow
    a repository of your own. What it keeps is in SLIPWAY_HOME (.slipway), its ports are VCS_PORT
    (8080), ML_PORT (8000) and MLFLOW_PORT (5000). Nothing is left running when it ends.
    """
    from cli.up import up as run  # noqa: PLC0415 (the database's library takes a while to load)

    run(Settings())


@app.command()
def status() -> None:
    """What is live, what is being built, and how vcs is.

    Asks the appliance on this machine, or the one that SLIPWAY_URL names. Ends with 1 when nothing
    answers there.
    """
    screen.show(look.status(look.Appliance(Settings())))


@app.command()
def releases(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest first.")] = 20,
) -> None:
    """The releases: which commit, how each ended, and why."""
    screen.show(look.history(look.Appliance(Settings()).releases()[:limit]))


app.add_typer(logs.app)
app.add_typer(operate.app)
