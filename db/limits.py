"""Time limits on Postgres: a server or a network may go silent without closing any connection."""

import select
import time
from typing import Any

import psycopg2
from psycopg2 import extensions

CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 30.0  # of a service, which reads little at a time
BUILDER_SECONDS = 600.0
PING = 1 / 6  # of a statement's time, for an idle connection to respond to a ping
ANSWER_MARGIN_SECONDS = 5.0  # that the server's own limit has, before ours ends the connection
CONNECTED_STATUSES = (extensions.STATUS_READY, extensions.STATUS_BEGIN, extensions.STATUS_PREPARED)

# detect a vanished machine, on our side and on the server's
KEEPALIVE_OPTIONS: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
}
SERVER_KEEPALIVE_SQL = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 2"
)


class TimeoutConnection(extensions.connection):
    """A connection that fails with an `OperationalError` when a statement is not answered in time."""

    answer_seconds = STATEMENT_SECONDS + ANSWER_MARGIN_SECONDS

    def set_timeout(self, seconds: float) -> None:
        """Limit each statement to so many seconds, on the server, and here where the server is silent."""
        self.answer_seconds = seconds + ANSWER_MARGIN_SECONDS
        with self.cursor() as cursor:
            cursor.execute(f"{SERVER_KEEPALIVE_SQL}; SET statement_timeout = {int(seconds * 1000)}")
        if not self.autocommit:
            self.commit()


def connect(url: str, seconds: float = STATEMENT_SECONDS) -> TimeoutConnection:
    """Connect to an address of libpq's form, in autocommit."""
    made: TimeoutConnection = psycopg2.connect(url, connection_factory=TimeoutConnection, **KEEPALIVE_OPTIONS)
    made.set_isolation_level(extensions.ISOLATION_LEVEL_AUTOCOMMIT)
    made.set_timeout(seconds)
    return made


def wait(connection: Any) -> None:
    """Wait for the server as psycopg2 itself does, but not for ever; psycopg2 closes the connection then."""
    connected = connection.status in CONNECTED_STATUSES
    limit = getattr(connection, "answer_seconds", None) if connected else CONNECT_SECONDS
    end = None if limit is None else time.monotonic() + limit
    while (state := connection.poll()) != extensions.POLL_OK:
        watched = select.poll()
        watched.register(
            connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
        )
        left = None if end is None else max(0.0, end - time.monotonic()) * 1000
        if not watched.poll(left):
            raise psycopg2.OperationalError(f"Postgres has not responded for {limit:g} s")


extensions.set_wait_callback(wait)
