"""The thread that delivers the outbox to GitHub, woken when something is put into it."""

import threading
from collections.abc import Callable

from loguru import logger
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from db import outbox
from db.listener import NotificationListener
from db.session import describe_error
from vcs.github_app import GitHubAccess
from vcs.outbox.delivery import OutboxDelivery
from vcs.outbox.github_api import GitHubApi
from vcs.settings import VcsSettings

MAX_WAIT_SECONDS = 300.0  # until the next look, should a notification be lost
DATABASE_PAUSE_SECONDS = 5.0


class OutboxThread:
    """The thread that delivers; it is off without a token."""

    def __init__(self, settings: VcsSettings, sessions: sessionmaker[Session], access: GitHubAccess) -> None:
        self.settings, self.sessions, self.access = settings, sessions, access
        self.is_on = access.is_on
        self._stopping = threading.Event()
        self._listener: NotificationListener | None = None
        self._has_database = True
        self._thread = self._make_thread()

    def _make_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run_loop, name="outbox", daemon=True)

    def start(self) -> None:
        if self.is_on:
            self._thread.start()

    @property
    def has_ended(self) -> bool:
        return self._thread.ident is not None and not self._thread.is_alive()

    def restart_if_ended(self) -> None:
        """Restart the thread where it has ended without a stop."""
        if self.has_ended and not self._stopping.is_set():
            logger.error("the outbox thread has ended: restarting it")
            self._thread = self._make_thread()
            self._thread.start()

    def stop(self) -> None:
        """End the thread as soon as GitHub has answered the request that is open."""
        self._stopping.set()
        if self._listener is not None:
            self._listener.wake()

    def join(self, seconds: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run_loop(self) -> None:
        url = self.settings.database_url.get_secret_value()
        api = GitHubApi(self.settings.github_api_url, self.access, self._stopping)
        delivery = OutboxDelivery(self.settings, self.sessions, api)
        self._listener = NotificationListener(url, outbox.CHANNEL)
        try:
            self._try(delivery.prepare)
            while not self._stopping.is_set():
                self._listener.wait(self._try(lambda: self._deliver_due(delivery)) or DATABASE_PAUSE_SECONDS)
        finally:
            self._listener.close()
            api.close()

    def _deliver_due(self, delivery: OutboxDelivery) -> float:
        """Deliver what is due; return the seconds until something is."""
        delivery.renew_clone_tokens()
        while not (self._stopping.is_set() or delivery.seconds_paused):
            if not delivery.deliver_next():
                break
            delivery.renew_clone_tokens()
        with self.sessions() as session:
            due = outbox.find_seconds_until_due(session, delivery.repositories)
        pause = max(delivery.seconds_paused, MAX_WAIT_SECONDS if due is None else due)
        return max(0.05, min(MAX_WAIT_SECONDS, pause, delivery.clone_tokens.seconds_until_due))

    def _try(self, work: Callable[[], float | None]) -> float | None:
        """Return what `work` returns, None where the database does not answer."""
        try:
            found = work()
        except SQLAlchemyError as error:
            level = "WARNING" if self._has_database else "DEBUG"
            logger.log(
                level, "GitHub is told later: the database does not answer ({})", describe_error(error)
            )
            self._has_database = False
            return None
        self._has_database = True
        return found
