"""A bound on the rows a second of one model; a call is recorded whole or not at all."""

import time


class RowRate:
    """A bucket of rows: a call may empty it below zero, and the next one then waits until it is above."""

    def __init__(self, rows_per_second: float) -> None:
        self._rows_per_second = rows_per_second
        self._left, self._at = rows_per_second, time.monotonic()

    def take(self, rows: int) -> bool:
        """Return whether a call of so many rows may be recorded now."""
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * self._rows_per_second, self._rows_per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= rows
        return True
