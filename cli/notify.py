"""The command `slipway notify test`: a message to each receiver of notifications, now."""

from typing import TYPE_CHECKING

import typer

from cli import terminal
from cli.errors import UserError
from common.settings import load_settings
from common.system.pinned_venv import InstallError

if TYPE_CHECKING:
    from vcs.notifications.settings import NotificationSettings

app = typer.Typer(help="Send a test to who is told of what happens.", no_args_is_help=True)
HOW_TO_SET = "nobody is told of anything: set SLIPWAY_WEBHOOKS or SLIPWAY_NOTIFY, where vcs runs"
HOW_TO_RUN = "notifications are sent by vcs: run `docker compose exec vcs slipway notify test`"


@app.callback()
def notify() -> None:
    """Send a test to who is told of what happens: SLIPWAY_WEBHOOKS and SLIPWAY_NOTIFY."""


@app.command()
def test() -> None:
    """Send a test to each webhook and address, and print what each answered.

    Reads the settings here: with Docker, run it as `docker compose exec vcs slipway notify test`.
    Exits with 1 when one did not take the message.
    """
    try:  # they load slowly, and are not in every image
        from vcs.notifications.send import send_test  # noqa: PLC0415
        from vcs.notifications.settings import NotificationSettings  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UserError(HOW_TO_RUN) from error
    settings = load_settings(NotificationSettings)
    if not settings.receivers:
        raise UserError(HOW_TO_SET)
    if settings.addresses:
        install_apprise(settings)
    failed = False
    for receiver in settings.receivers:
        outcome = send_test(settings, receiver)
        failed |= not outcome.is_delivered
        terminal.print_text(f"{receiver.name}: {outcome.error or 'it took the test message'}.")
    if failed:
        raise typer.Exit(1)


def install_apprise(settings: "NotificationSettings") -> None:
    from vcs.notifications.install import install  # noqa: PLC0415

    try:
        install(settings.venv_folder)
    except (InstallError, OSError) as error:
        raise UserError(f"Apprise cannot be installed in {settings.venv_folder}: {error}") from error
