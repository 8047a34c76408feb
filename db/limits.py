"""Time limits on what Postgres is asked: a server or a network that goes silent without closing anything."""

import select
import time
from typing import Any

import psycopg2
from psycopg2 import extensions

CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 30.0  # of a service, which asks for little at a time
BUILDER_SECONDS = 600.0
SLOWER = 5.0  # seconds that the server's own limit has, before ours ends the connection
CONNECTED = (extensions.STATUS_READY, extensions.STATUS_BEGIN, extensions.STATUS_PREPARED)

# a machine that went without a word, as our side and as the server's side notices it
KEEPALIVE: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
}
SERVERS_SIDE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 2"


class Limited(extensions.connection):
    """A connection that ends, with an `OperationalError`, when a statement is not answered in time."""

    answer_seconds = STATEMENT_SECONDS + SLOWER

    def limit(self, seconds: float) -> None:
        """Have no statement take longer, on the server, and here where that says nothing any more."""
        self.answer_seconds = seconds + SLOWER
        with self.cursor() as cursor:
            cursor.execute(f"{SERVERS_SIDE}; SET statement_timeout = {int(seconds * 1000)}")
        if not self.autocommit:
            self.commit()


def connect(url: str, seconds: float = STATEMENT_SECONDS) -> Limited:
    """Connect to the address that libpq understands, in autocommit."""
    made: Limited = psycopg2.connect(url, connection_factory=Limited, **KEEPALIVE)
    made.set_isolation_level(extensions.ISOLATION_LEVEL_AUTOCOMMIT)
    made.limit(seconds)
    return made


def wait(connection: Any) -> None:
    """Wait for the server as psycopg2 itself does, but not for ever; psycopg2 closes the connection then."""
    connected = connection.status in CONNECTED
    limit = getattr(connection, "answer_seconds", None) if connected else CONNECT_SECONDS
    end = None if limit is None else time.monotonic() + limit
    while (state := connection.poll()) != extensions.POLL_OK:
        watched = select.poll()
        watched.register(
            connection.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
        )
        left = None if end is None else max(0.0, end - time.monotonic()) * 1000
        if not watched.poll(left):
            raise psycopg2.OperationalError(f"Postgres has said nothing for {limit:g} s")


extensions.set_wait_callback(wait)
