"""One try to send a message to a receiver of any kind."""

import traceback
from datetime import UTC, datetime
from uuid import uuid4

from loguru import logger

from vcs.notifications.apprise import send_apprise
from vcs.notifications.message import Message, make_test_message
from vcs.notifications.outcome import SendOutcome
from vcs.notifications.receivers import AppriseAddress, Receiver, WebhookAddress
from vcs.notifications.settings import NotificationSettings
from vcs.notifications.webhook import send_webhook


def send_message(settings: NotificationSettings, receiver: Receiver, message: Message) -> SendOutcome:
    """Try to send a message; an error of ours is one of this receiver, and stops no other."""
    try:
        match receiver:
            case WebhookAddress():
                return send_webhook(receiver, message, settings.allowed)
            case AppriseAddress():
                return send_apprise(receiver, message, settings.venv_folder)
        raise TypeError(type(receiver).__name__)
    except Exception as error:  # noqa: BLE001 (a bug of ours must not stop the delivery to others)
        logger.error("a message could not be sent: {}", describe_bug(error))
        return SendOutcome("it could not be sent, by a fault of Slipway: see the log", holds_up=True)


def describe_bug(error: Exception) -> str:
    """Return an error's type and where it was raised: its text could quote an address."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {frames[-1].filename}, line {frames[-1].lineno}"


def send_test(settings: NotificationSettings, receiver: Receiver) -> SendOutcome:
    """Send a message that says it is a test, without the database."""
    return send_message(settings, receiver, make_test_message(f"msg_{uuid4().hex}", datetime.now(UTC)))
