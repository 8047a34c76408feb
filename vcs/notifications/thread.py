"""The thread that delivers notifications; off where nobody is to be told."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session, sessionmaker

from db import notifications
from vcs.delivery_thread import MAX_WAIT_SECONDS, DeliveryThread
from vcs.notifications.delivery import NotificationSender
from vcs.notifications.settings import NotificationSettings


class NotificationThread(DeliveryThread[NotificationSender]):
    """The thread that delivers to the receivers of `settings`; it is off where there are none."""

    def __init__(
        self, settings: NotificationSettings, sessions: sessionmaker[Session], database_url: str
    ) -> None:
        self.settings, self.sessions = settings, sessions
        is_on = bool(settings.receivers)
        super().__init__("people", database_url, notifications.CHANNEL, is_on=is_on)

    @contextmanager
    def open_delivery(self) -> Iterator[NotificationSender]:
        yield NotificationSender(self.settings, self.sessions)

    def deliver_due(self, delivery: NotificationSender) -> float:
        """Deliver what is due; return the seconds until something is."""
        while not self._stopping.is_set() and delivery.deliver_next():
            pass
        due = delivery.find_seconds_until_due()
        return min(MAX_WAIT_SECONDS, max(0.05, MAX_WAIT_SECONDS if due is None else due))
