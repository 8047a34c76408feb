"""Leader election: a Postgres advisory lock held on its own connection."""

import zlib

import psycopg2
from psycopg2 import extensions

from db import limits
from db.session import to_driver_url

ANSWER_SECONDS = 5.0  # for a response of Postgres


class LeaderLock:
    """A lock by name. Losing the connection loses the lock, so `acquire` checks with the server each time.

    The server releases the lock of a machine that vanished.
    """

    def __init__(self, url: str, name: str) -> None:
        self._dsn = to_driver_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._key = zlib.crc32(name.encode())
        self._connection: extensions.connection | None = None

    def acquire(self) -> bool:
        """Return whether this process holds the lock; take it when free. False if Postgres is unavailable."""
        try:
            if self._connection is not None:
                self._query("SELECT true")
                return True
            self._connection = limits.connect(self._dsn, ANSWER_SECONDS)
            if self._query("SELECT pg_try_advisory_lock(%s)", self._key):
                return True
        except psycopg2.Error:
            pass
        self.release()
        return False

    def release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _query(self, query: str, *values: int) -> bool:
        assert self._connection is not None
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            row = cursor.fetchone()
        return bool(row and row[0])
