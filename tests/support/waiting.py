"""Waiting for what another process does, and a port for it to listen on."""

import time
from collections.abc import Callable
from typing import TypeVar

from common import ports

Found = TypeVar("Found")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    return ports.free()


def wait_until(predicate: Callable[[], Found], seconds: float, what: str) -> Found:
    """What `predicate` gives once that is true; a failed test that names `what` when it never is."""
    until = time.monotonic() + seconds
    while not (found := predicate()):
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {seconds:g} s (last seen: {found!r})")
        time.sleep(0.02)
    return found
