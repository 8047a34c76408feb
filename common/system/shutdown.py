"""A shutdown flag for loops that run until they are to stop."""

import signal
from collections.abc import Callable
from types import FrameType


class ShutdownFlag:
    """A flag that is true once SIGTERM or SIGINT has come; calls `wake` then, and whenever a child ends.

    For the main thread only, which receives the signals.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake, self._is_requested = wake, False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: wake())

    def __bool__(self) -> bool:
        return self._is_requested

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._is_requested = True
        self._wake()
