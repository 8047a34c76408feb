"""The operators' commands that pause and resume the retraining of a model."""

import typer

from cli import terminal
from cli.operate import Model, Why
from cli.operator_client import OperatorClient
from cli.settings import CliSettings

app = typer.Typer()


@app.command()
def pause(model: Model = None, why: Why = None) -> None:
    """Begin no retraining of a model until it is resumed.

    What is on its way goes on. Merges are built as before, and so is what `slipway train` asks for.
    """
    operator = OperatorClient(CliSettings())
    name = operator.choose_model(model)
    paused = operator.post_request(f"/models/{name}/pause", why=why)["paused"]
    terminal.print_text(f"retraining of {name} is paused by {paused['who']} since {paused['since']}")


@app.command()
def resume(model: Model = None, why: Why = None) -> None:
    """Retrain a model again from now on; what its schedule missed in the pause is not made up for."""
    operator = OperatorClient(CliSettings())
    name = operator.choose_model(model)
    operator.post_request(f"/models/{name}/resume", why=why)
    terminal.print_text(f"retraining of {name} goes on")
