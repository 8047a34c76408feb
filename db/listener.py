"""A wait for notifications or a timeout, across restarts of Postgres."""

import contextlib
import math
import os
import select
import threading

import psycopg2
from psycopg2 import extensions, sql

from db import limits
from db.session import to_driver_url


class NotificationListener:
    """A listener whose `wait` ends on NOTIFY, on `wake`, and whenever a notification may have been missed.

    The connection is its own: on one from a pool, notifications between two polls are lost.
    """

    def __init__(self, url: str, *channels: str) -> None:
        self._dsn = to_driver_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._channels = channels
        self._notified: set[str] = set()
        self._connection: extensions.connection | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._closing = threading.Lock()

    def wait(self, timeout: float) -> bool:
        """Block for at most `timeout` seconds; return True when there may be work."""
        if self._connection is None:
            self._connection = self._connect()
            if self._connection is not None:
                return True  # fresh: earlier notifications are covered by this poll
            timeout = min(timeout, 1)  # no database: try again soon
        poll = select.poll()  # select() takes no descriptor above 1023, and busy services have such
        poll.register(self._wake_read, select.POLLIN)
        if self._connection is not None:
            poll.register(self._connection.fileno(), select.POLLIN)
        readable = [descriptor for descriptor, _ in poll.poll(math.ceil(timeout * 1000))]
        woken = self._wake_read in readable
        if woken:
            os.read(self._wake_read, 4096)
        return woken | self._has_notification(len(readable) > woken)

    def take_notified(self, channel: str) -> bool:
        """Return whether `channel` was notified since the last call."""
        was_notified = channel in self._notified
        self._notified.discard(channel)
        return was_notified

    def wake(self) -> None:
        """End a `wait` in progress, from another thread or a signal handler."""
        with contextlib.suppress(OSError):  # full of wake-ups already, or closed
            os.write(self._wake_write, b"!")

    def reset_connection(self) -> None:
        """Close the connection: the next `wait` opens another."""
        self._drop_connection()

    def close(self) -> None:
        with self._closing:
            self._drop_connection()
            ends = self._wake_read, self._wake_write
            self._wake_read = self._wake_write = -1  # first: another file may get the number of a closed one
            for end in ends:
                if end >= 0:
                    os.close(end)

    def _connect(self) -> extensions.connection | None:
        try:
            connection = limits.connect(self._dsn)
            with connection.cursor() as cursor:
                for channel in self._channels:
                    cursor.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        except psycopg2.Error:
            return None
        return connection

    def _has_notification(self, readable: bool) -> bool:
        if self._connection is None or not readable:
            return False
        try:
            self._connection.poll()
        except psycopg2.Error:
            self._drop_connection()
            return True  # the server went away: poll, then listen again
        found = {notification.channel for notification in self._connection.notifies}
        self._notified |= found
        self._connection.notifies.clear()
        return bool(found)

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
