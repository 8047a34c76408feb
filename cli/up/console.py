"""The log of all processes: whole lines, each after its process's name, and a bounded file for each."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TextIO

from common.plain import escape_unprintable

COLOURS = (36, 33, 35, 32, 34, 31)  # distinguishable on light and dark
NAME_WIDTH = 8
MAX_LOG_BYTES = 4 * 1024 * 1024  # a log file is rotated at this size; the one rotated before is deleted


class Console:
    """A log writer to `stream`, for the person who watches, and to FOLDER/NAME.log."""

    def __init__(self, folder: Path, stream: TextIO | None = None) -> None:
        self.folder, self.stream = folder, stream or sys.stdout
        self.coloured = self.stream.isatty() and not os.environ.get("NO_COLOR")
        self.colours: dict[str, int] = {}
        self.lock = Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write_line(self, name: str, line: str) -> None:
        """Write one line to the stream and to the process's file."""
        text = escape_unprintable(line.rstrip())
        with self.lock:
            with suppress(OSError):  # a full disk is no reason to stop reading
                self._append_to_file(name, text)
            self._write_to_stream(f"{self._format_prefix(name)} {text}\n")

    def write_block(self, text: str) -> None:
        """Write several lines that belong together, only to the stream."""
        with self.lock:
            self._write_to_stream(f"\n{text.strip()}\n\n")

    def _append_to_file(self, name: str, text: str) -> None:
        path = self.folder / f"{name}.log"
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(text + "\n")
            size = file.tell()
        if size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))

    def _write_to_stream(self, text: str) -> None:
        encoding = self.stream.encoding or "utf-8"
        with suppress(OSError, ValueError):  # nobody watches any more: the files have it
            self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self.stream.flush()

    def _format_prefix(self, name: str) -> str:
        if not self.coloured:
            return f"{name:<{NAME_WIDTH}} |"
        colour = self.colours.setdefault(name, COLOURS[len(self.colours) % len(COLOURS)])
        return f"\033[{colour}m{name:<{NAME_WIDTH}} |\033[0m"
