"""A bound on the rows a second of one model; a call is recorded whole or not at all."""


class RowRate:
    """A bucket of rows: a call may empty it below zero, and the next one then waits until it is above."""

    def __init__(self, rows_per_second: float) -> None:
        self._rows_per_second = self._left = rows_per_second
        self._at = 0.0

    def take(self, rows: int, now: float) -> bool:
        """Return whether a call of so many rows may be recorded at this time of the monotonic clock."""
        left = self._left + (now - self._at) * self._rows_per_second
        self._left = left = min(left, self._rows_per_second)
        self._at = now
        if left < 1:
            return False
        self._left = left - rows
        return True
