"""The command line: `slipway up | status | releases | logs | deploy | rollback | train | …`."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from pydantic import ValidationError

from cli import (
    client,
    demo,
    demo_drift,
    demo_tomorrow,
    ground_truth,
    logs,
    notify,
    operate,
    pull_requests,
    retraining,
    terminal,
)
from cli.check import commands as check_commands
from cli.errors import UserError
from cli.settings import CliSettings
from common.plain import escape_lines


class CommandLine(typer.Typer):
    """The command line; a user's error becomes one line and exit code 1 here, and nowhere else."""

    def __call__(self) -> None:
        try:
            super().__call__()
        except UserError as trouble:
            sys.exit(f"slipway: {escape_lines(str(trouble))}")
        except ValidationError as error:
            wrong = (f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
            sys.exit(f"slipway: {'; '.join(wrong)}")


app = CommandLine(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
demo.app.command()(demo_tomorrow.tomorrow)
demo.app.command()(demo_drift.drift)
app.add_typer(demo.app, name="demo")
app.add_typer(notify.app, name="notify")
app.add_typer(ground_truth.app, name="ground-truth")


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"slipway {version('slipway')}")
        raise typer.Exit


@app.callback()
def main(
    _: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Take merged pull requests of a model repository to production, on one machine."""


@app.command()
def up() -> None:
    """Run the whole appliance here, without Docker, until Ctrl-C.

    With nothing configured this is the demo. SLIPWAY_REPOSITORY=owner/name and GITHUB_TOKEN follow
    a repository of your own. Its data is in SLIPWAY_HOME (.slipway), its ports are VCS_PORT
    (8080), ML_PORT (8000) and MLFLOW_PORT (5000). Nothing is left running when it ends.
    """
    from cli.up.appliance import run_appliance as run  # noqa: PLC0415 (the database's library loads slowly)

    run(CliSettings())


@app.command()
def status() -> None:
    """Show the live release, builds in progress and the state of vcs.

    Calls the appliance on this machine, or at SLIPWAY_URL. Exits with 1 when there is no response.
    """
    terminal.print_text(client.format_status(client.ApplianceClient(CliSettings())))


@app.command()
def releases(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest first.")] = 20,
) -> None:
    """List the releases: commit, outcome, and reason."""
    terminal.print_text(client.format_history(client.ApplianceClient(CliSettings()).list_releases()[:limit]))


app.add_typer(check_commands.app)
app.add_typer(logs.app)
app.add_typer(operate.app)
app.add_typer(pull_requests.app)
app.add_typer(retraining.app)
