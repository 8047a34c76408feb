"""Waiting until somebody notifies, or a while has passed; survives restarts of Postgres."""

import contextlib
import math
import os
import select
import threading

import psycopg2
from psycopg2 import extensions, sql

from db import limits
from db.session import driver_url


class Wakeup:
    """`wait` returns early on NOTIFY, on `wake`, and whenever a notification may have been missed.

    The connection is its own: on one from a pool, what comes between two looks is lost.
    """

    def __init__(self, url: str, *channels: str) -> None:
        self._dsn = driver_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._channels = channels
        self._connection: extensions.connection | None = None
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._closing = threading.Lock()

    def wait(self, timeout: float) -> bool:
        """Block for at most `timeout` seconds; True when there may be something to look at."""
        if self._connection is None:
            self._connection = self._connect()
            if self._connection is not None:
                return True  # fresh: whatever was notified before is looked at now
            timeout = min(timeout, 1)  # no database: try again soon
        poll = select.poll()  # select() takes no descriptor above 1023, and busy services have such
        poll.register(self._woken, select.POLLIN)
        if self._connection is not None:
            poll.register(self._connection.fileno(), select.POLLIN)
        readable = [descriptor for descriptor, _ in poll.poll(math.ceil(timeout * 1000))]
        woken = self._woken in readable
        if woken:
            os.read(self._woken, 4096)
        return woken | self._notified(len(readable) > woken)

    def wake(self) -> None:
        """End a `wait` that is going on, from another thread or a signal handler."""
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            os.write(self._wake, b"!")

    def begin_anew(self) -> None:
        """Leave the connection: the next `wait` makes another."""
        self._drop()

    def close(self) -> None:
        with self._closing:
            self._drop()
            for end in (self._woken, self._wake):
                if end >= 0:
                    os.close(end)
            self._woken = self._wake = -1

    def _connect(self) -> extensions.connection | None:
        try:
            connection = limits.connect(self._dsn)
            with connection.cursor() as cursor:
                for channel in self._channels:
                    cursor.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        except psycopg2.Error:
            return None
        return connection

    def _notified(self, readable: bool) -> bool:
        if self._connection is None or not readable:
            return False
        try:
            self._connection.poll()
        except psycopg2.Error:
            self._drop()
            return True  # the server went away: look, then listen anew
        found = bool(self._connection.notifies)
        self._connection.notifies.clear()
        return found

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
