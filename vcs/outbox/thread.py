"""The thread that delivers the outbox to GitHub."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session, sessionmaker

from db import outbox, outbox_delivery
from vcs.delivery_thread import MAX_WAIT_SECONDS, DeliveryThread
from vcs.github_app import GitHubAccess
from vcs.outbox.delivery import OutboxDelivery
from vcs.outbox.github_api import GitHubApi
from vcs.settings import VcsSettings


class OutboxThread(DeliveryThread[OutboxDelivery]):
    """The thread that delivers; it is off without a token."""

    def __init__(self, settings: VcsSettings, sessions: sessionmaker[Session], access: GitHubAccess) -> None:
        self.settings, self.sessions, self.access = settings, sessions, access
        url = settings.database_url.get_secret_value()
        super().__init__("GitHub", url, outbox.CHANNEL, is_on=access.is_on)

    @contextmanager
    def open_delivery(self) -> Iterator[OutboxDelivery]:
        api = GitHubApi(self.settings.github_api_url, self.access, self._stopping)
        try:
            yield OutboxDelivery(self.settings, self.sessions, api)
        finally:
            api.close()

    def deliver_due(self, delivery: OutboxDelivery) -> float:
        """Deliver what is due; return the seconds until something is."""
        delivery.renew_clone_tokens()
        while not (self._stopping.is_set() or delivery.seconds_paused):
            if not delivery.deliver_next():
                break
            delivery.renew_clone_tokens()
        with self.sessions() as session:
            due = outbox_delivery.find_seconds_until_due(session, delivery.repositories)
        pause = max(delivery.seconds_paused, MAX_WAIT_SECONDS if due is None else due)
        return max(0.05, min(MAX_WAIT_SECONDS, pause, delivery.clone_tokens.seconds_until_due))
