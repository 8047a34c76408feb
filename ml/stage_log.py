"""The log of a stage, for the lines that Slipway itself adds to it."""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from common.plain import escape_and_indent
from common.text import make_storable

LogLine = Callable[[str], None]


def stage_logger(log: Path, about: str = "") -> LogLine:
    """Return a function that appends a line, with the time and its subject, to the log at once."""
    return partial(write_line, log, f"{about}: " if about else "")


def write_line(log: Path, about: str, text: str) -> None:
    with suppress(OSError):  # the disk may be full: no release fails because of a log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{datetime.now():%H:%M:%S} {escape_and_indent(about + make_storable(text))}\n")


def read_last_lines(log: Path, max_bytes: int, since: int = 0) -> list[str]:
    """Return the lines in the last bytes of a log, of what was written after its first `since` bytes."""
    with log.open("rb") as file:
        file.seek(max(since, file.seek(0, os.SEEK_END) - max_bytes))
        return file.read(max_bytes).decode(errors="replace").splitlines()


def discard(_: str) -> None:
    """Ignore a log line."""
