"""The operators' commands: deploy, roll back, train, evaluate, cancel. They find the token automatically."""

import time
from typing import Annotated

import typer

from cli import client, terminal
from cli.errors import UserError
from cli.operator_client import POLL_SECONDS, Document, OperatorClient
from cli.settings import CliSettings

Number = Annotated[int, typer.Argument(metavar="RELEASE", help="The release's number.")]
Model = Annotated[str | None, typer.Argument(help="Needed only when there are several models.")]
Why = Annotated[str | None, typer.Option("--why", "-m", help="Stored with the decision, for others to read.")]
Wait = Annotated[bool, typer.Option(help="Wait until it is live or has failed.")]
Scored = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the score.")]

app = typer.Typer()


@app.command()
def deploy(release: Number, why: Why = None, wait: Wait = True) -> None:
    """Make a release live that was built earlier.

    One that stopped at `passed`, or an earlier one, also when it was rolled back. No request is
    dropped; when it cannot start, the live release stays live.
    """
    operator = OperatorClient(CliSettings())
    report_deployment(operator, operator.post_request(f"/releases/{release}/deploy", why=why), wait=wait)


@app.command()
def rollback(model: Model = None, why: Why = None, wait: Wait = True) -> None:
    """Go back to the release that was live before.

    Where that cannot start, to the next older one that can. The release that it replaces goes into
    quarantine, with its commit where no earlier release of that was good: no rollback goes to it.
    Releases in progress stop at `passed`, until the next merge.
    """
    operator = OperatorClient(CliSettings())
    name = operator.choose_model(model)
    seen = operator.list_live_releases().get(name)
    report_deployment(
        operator, operator.post_request(f"/models/{name}/rollback", why=why, release=seen), wait=wait
    )


@app.command()
def train(
    model: Model = None,
    commit: Annotated[str | None, typer.Option(help="Without it, the newest merged commit.")] = None,
    warm_start: Annotated[bool, typer.Option("--warm-start", help="Begin with the live model.")] = False,
    begin_with: Annotated[
        int | None, typer.Option("--from", metavar="RELEASE", help="Begin with this release's model.")
    ] = None,
    why: Why = None,
) -> None:
    """Build a commit once more, on today's data.

    Without --commit that is the newest merge, also when it was rejected or rolled back, which is
    then told. It takes every stage, the gate included, as if it had just been merged.
    """
    operator = OperatorClient(CliSettings())
    begin = begin_with if begin_with is not None else warm_start or None
    name = operator.choose_model(model)
    queued = operator.post_request(f"/models/{name}/train", commit=commit, warm_start=begin, why=why)
    number = queued["id"]
    terminal.print_text(
        f"release {number} of {name} is queued, commit {client.shorten_commit(queued['commit'])}"
    )
    if note := queued.get("note"):
        terminal.print_text(f"   {note}".replace("\n", "\n   "))
    terminal.print_text(f"   follow it: slipway logs {number} --follow")


@app.command()
def evaluate(model: Model = None, wait: Scored = True) -> None:
    """Score the live release on today's test data; nothing is trained, and nothing else goes live."""
    operator = OperatorClient(CliSettings())
    name = operator.choose_model(model)
    score = operator.post_request(f"/models/{name}/evaluate")
    terminal.print_text(f"release {score['release']} of {name} is going to be scored")
    while wait and score["status"] in client.UNFINISHED:
        time.sleep(POLL_SECONDS)
        score = operator.get(f"/models/{name}/scores/{score['id']}").json()
    if score["metrics"]:
        terminal.print_text(f"   {client.format_metrics(score['metrics'])}")
    elif score["status"] not in client.UNFINISHED:
        raise UserError(f"release {score['release']} could not be scored: {score['reason']}")


@app.command()
def cancel(release: Number, why: Why = None) -> None:
    """End a release that is queued or being built."""
    ended = OperatorClient(CliSettings()).post_request(f"/releases/{release}/cancel", why=why)
    terminal.print_text(f"release {release} of {ended['model']} is cancelled")


def report_deployment(operator: OperatorClient, deployment: Document, *, wait: bool) -> None:
    deployment = operator.wait_until_live(deployment) if wait else deployment
    name = f"release {deployment['release']} of {deployment['model']}"
    terminal.print_text(f"{name} is live" if wait else f"{name} is going to be live")
