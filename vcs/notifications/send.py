"""One try to send a message to a receiver of any kind."""

from datetime import UTC, datetime
from uuid import uuid4

from vcs.notifications.apprise import send_apprise
from vcs.notifications.message import Message, make_test_message
from vcs.notifications.outcome import SendOutcome
from vcs.notifications.receivers import AppriseAddress, Receiver, WebhookAddress
from vcs.notifications.settings import NotificationSettings
from vcs.notifications.webhook import send_webhook


def send_message(settings: NotificationSettings, receiver: Receiver, message: Message) -> SendOutcome:
    match receiver:
        case WebhookAddress():
            return send_webhook(receiver, message, settings.allowed)
        case AppriseAddress():
            return send_apprise(receiver, message, settings.venv_folder)
    raise TypeError(type(receiver).__name__)


def send_test(settings: NotificationSettings, receiver: Receiver) -> SendOutcome:
    """Send a message that says it is a test, without the database."""
    return send_message(settings, receiver, make_test_message(f"msg_{uuid4().hex}", datetime.now(UTC)))
