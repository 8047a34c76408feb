"""The log of a stage, for what Slipway itself has to say in it."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from common.plain import indented
from common.text import make_storable

Say = Callable[[str], None]


def to(log: Path, about: str = "") -> Say:
    """What puts a line, with the time and what it is about, at the end of the log, at once."""
    return partial(write, log, f"{about}: " if about else "")


def write(log: Path, about: str, text: str) -> None:
    with suppress(OSError):  # the disk may be full: no release fails of a log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{datetime.now():%H:%M:%S} {indented(about + make_storable(text))}\n")


def silent(_: str) -> None:
    """For who has nobody to tell."""
