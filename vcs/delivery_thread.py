"""A thread that delivers what a table holds, woken when something is put into it."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar

from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from db.listener import NotificationListener
from db.session import describe_error

MAX_WAIT_SECONDS = 300.0  # until the next look, should a notification be lost
DATABASE_PAUSE_SECONDS = 5.0


class Deliverer(Protocol):
    def prepare(self) -> None:
        """Do what is done once, before anything is delivered."""


SomeDeliverer = TypeVar("SomeDeliverer", bound=Deliverer)


class DeliveryThread(ABC, Generic[SomeDeliverer]):
    """The thread that delivers to `receiver`; it does not start where it is not on."""

    def __init__(self, receiver: str, database_url: str, channel: str, *, is_on: bool) -> None:
        self.receiver, self.database_url, self.channel, self.is_on = receiver, database_url, channel, is_on
        self._stopping = threading.Event()
        self._listener: NotificationListener | None = None
        self._has_database = True
        self._thread = self._make_thread()

    @abstractmethod
    def open_delivery(self) -> AbstractContextManager[SomeDeliverer]:
        """Open what delivers, for as long as the thread runs."""

    @abstractmethod
    def deliver_due(self, delivery: SomeDeliverer) -> float:
        """Deliver what is due; return the seconds until something is."""

    def _make_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run_loop, name=self.channel, daemon=True)

    def start(self) -> None:
        if self.is_on:
            self._thread.start()

    @property
    def has_ended(self) -> bool:
        return self._thread.ident is not None and not self._thread.is_alive()

    def restart_if_ended(self) -> None:
        """Restart the thread where it has ended without a stop."""
        if self.has_ended and not self._stopping.is_set():
            logger.error("the thread that delivers to {} has ended: restarting it", self.receiver)
            self._thread = self._make_thread()
            self._thread.start()

    def stop(self) -> None:
        """End the thread as soon as the request that is open is answered."""
        self._stopping.set()
        if self._listener is not None:
            self._listener.wake()

    def join(self, seconds: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run_loop(self) -> None:
        self._listener = NotificationListener(self.database_url, self.channel)
        try:
            with self.open_delivery() as delivery:
                self._try(delivery.prepare)
                while not self._stopping.is_set():
                    pause = self._try(lambda: self.deliver_due(delivery))
                    self._listener.wait(pause or DATABASE_PAUSE_SECONDS)
        finally:
            self._listener.close()

    def _try(self, work: Callable[[], float | None]) -> float | None:
        """Return what `work` returns, None where the database does not answer."""
        try:
            found = work()
        except SQLAlchemyError as error:
            level = "WARNING" if self._has_database else "DEBUG"
            reason = describe_error(error)
            logger.log(level, "told later: {}; the database does not answer ({})", self.receiver, reason)
            self._has_database = False
            return None
        self._has_database = True
        return found
