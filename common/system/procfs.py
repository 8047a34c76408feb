"""Readers of /proc, as the user of the process that is read; standard library only."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LIBC = ctypes.CDLL(None)


def list_other_processes(tree: list[int]) -> list[int]:
    """Return all processes but these."""
    inside = {*tree, os.getpid()}
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in inside]  # noqa: PTH208


def read_fields(path: str) -> dict[str, str]:
    with open(path, errors="replace") as file:  # noqa: PTH123
        return parse_fields(file.read())


def parse_fields(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines(True) if ":" in line)


def parse_kibibytes(text: str) -> int:
    """Return the bytes of `   1234 kB`."""
    return int(text.removesuffix("\n").removesuffix(" kB")) * 1024


def device_id(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_dev  # noqa: PTH116
    return 0


def owner_uid(process: int) -> int:
    with suppress(OSError):
        return int(read_fields(f"/proc/{process}/status")["Uid"].split()[0])
    return os.getuid()


@contextmanager
def as_process_user(process: int) -> Iterator[None]:
    """Access a process as its own user: root in a container may not inspect other users' processes."""
    if os.geteuid() != 0:
        yield
        return
    facts = os.stat(f"/proc/{process}")  # noqa: PTH116
    LIBC.setfsgid(facts.st_gid)
    LIBC.setfsuid(facts.st_uid)
    try:
        yield
    finally:
        LIBC.setfsuid(0)
        LIBC.setfsgid(os.getegid())
