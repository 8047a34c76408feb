"""The operators' commands for open pull requests: approve what comes from another repository, check again."""

import typer

from cli import terminal
from cli.errors import UserError
from cli.operate import Model, Why
from cli.operator_client import Document, OperatorClient
from cli.settings import CliSettings

PullRequest = typer.Argument(metavar="NUMBER", help="The pull request's number.")

app = typer.Typer()


@app.command()
def approve(number: int = PullRequest, model: Model = None, why: Why = None) -> None:
    """Build a pull request that comes from another repository, at its newest commit.

    Look at that commit first: its code runs on this machine, in the sandbox, without secrets. A newer
    push needs another approval.
    """
    operator = OperatorClient(CliSettings())
    name = operator.choose_model(model)
    pull = find_pull(operator, name, number)
    operator.post_request(f"/models/{name}/pull-requests/{number}/approve", head=pull["head"], why=why)
    terminal.print_text(
        f"#{number} at {pull['head'][:8]} by {pull['author'] or 'somebody'} is going to be built"
    )


@app.command(name="recheck")
def check_again(number: int = PullRequest, model: Model = None, why: Why = None) -> None:
    """Check a pull request again, merged onto the branch as it is now."""
    operator = OperatorClient(CliSettings())
    name = operator.choose_model(model)
    pull = find_pull(operator, name, number)
    queued = operator.post_request(f"/models/{name}/pull-requests/{number}/check", head=pull["head"], why=why)
    terminal.print_text(f"#{number} at {pull['head'][:8]} is checked again: release {queued['release']}")


def find_pull(operator: OperatorClient, model: str, number: int) -> Document:
    pulls: list[Document] = operator.get(f"/models/{model}/pull-requests").json()["pull_requests"]
    found = next((pull for pull in pulls if pull["number"] == number), None)
    if found is None:
        shown = ", ".join(f"#{pull['number']}" for pull in pulls[:10]) or "none"
        raise UserError(f"#{number} is not open and synced; open are: {shown}")
    return found
