"""One process of a kind at a time: a Postgres advisory lock held on a connection of its own."""

import zlib

import psycopg2
from psycopg2 import extensions

from db import limits
from db.session import driver_url

SECONDS = 5.0  # for an answer


class OnlyOne:
    """A lock by name. Losing the connection loses the lock, so `held` asks the server each time.

    The server lets go of the lock of a machine that went without a word.
    """

    def __init__(self, url: str, name: str) -> None:
        self._dsn = driver_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._key = zlib.crc32(name.encode())
        self._connection: extensions.connection | None = None

    def held(self) -> bool:
        """True while this process holds the lock; takes it when it is free. False when Postgres is away."""
        try:
            if self._connection is not None:
                self._ask("SELECT true")
                return True
            self._connection = limits.connect(self._dsn, SECONDS)
            if self._ask("SELECT pg_try_advisory_lock(%s)", self._key):
                return True
        except psycopg2.Error:
            pass
        self.release()
        return False

    def release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, query: str, *values: int) -> bool:
        assert self._connection is not None
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            row = cursor.fetchone()
        return bool(row and row[0])
