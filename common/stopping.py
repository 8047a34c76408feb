"""A loop that runs until it is asked to stop."""

import signal
from collections.abc import Callable
from types import FrameType


class Stopping:
    """True once SIGTERM or SIGINT has come; calls `wake` then, and whenever a child ends.

    For the main thread alone, which is where signals come.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake, self._asked = wake, False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: wake())

    def __bool__(self) -> bool:
        return self._asked

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._asked = True
        self._wake()
