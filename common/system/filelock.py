"""Locks between the processes of one machine; the kernel releases them when their holder dies."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def acquire(path: Path) -> Iterator[None]:
    """Wait for the lock at `path`, and hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        path.chmod(0o600)  # whoever can open it can lock it
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def acquire_shared(path: Path) -> Iterator[None]:
    """Hold the lock at `path` with others that share it, unless somebody has it alone: then do without."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        path.chmod(0o600)
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield


def is_locked(path: Path) -> bool:
    """Return whether some process holds the lock at `path`."""
    if not path.exists():
        return False
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
