"""Waiting for another process, and a port for it to listen on."""

import os
import select
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from common.system import ports

Found = TypeVar("Found")

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that no process listens on now."""
    return ports.find_free_port()


def wait_until(
    predicate: Callable[[], Found], seconds: float, what: str, longest_pause: float = LONGEST_PAUSE
) -> Found:
    """Return the result of `predicate` once it is true; fail the test with `what` when it never is.

    The pauses grow with the time that has passed: a predicate often costs more than what it waits for.
    """
    began = time.monotonic()
    while not (found := predicate()):
        passed = time.monotonic() - began
        if passed > seconds:
            raise AssertionError(f"{what}: not within {seconds:g} s (last seen: {found!r})")
        time.sleep(min(max(FIRST_PAUSE, passed / 10), longest_pause))
    return found


def wait_for_exit(pids: Sequence[int], seconds: float) -> bool:
    """Return whether one of these child processes has ended; wait so many seconds for it."""
    ends = [os.pidfd_open(pid) for pid in pids]
    try:
        return select.select(ends, [], [], seconds)[0] != []
    finally:
        for end in ends:
            os.close(end)
