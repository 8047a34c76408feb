"""One log for all processes: whole lines, each after its process's name, and a bounded file for each."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TextIO

from common.plain import plain

COLOURS = (36, 33, 35, 32, 34, 31)  # cyan, yellow, magenta, green, blue, red: told apart on light and dark
WIDTH = 8
MOST = 4 * 1024 * 1024  # a log file is set aside at this size; the one set aside before goes


class Console:
    """Writes to `stream` for the person who looks on, and to FOLDER/NAME.log."""

    def __init__(self, folder: Path, stream: TextIO | None = None) -> None:
        self.folder, self.stream = folder, stream or sys.stdout
        self.coloured = self.stream.isatty() and not os.environ.get("NO_COLOR")
        self.colours: dict[str, int] = {}
        self.lock = Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def say(self, name: str, line: str) -> None:
        """One line."""
        text = plain(line.rstrip())
        with self.lock:
            with suppress(OSError):  # a full disk is no reason to stop listening
                self._keep(name, text)
            self._show(f"{self._prefix(name)} {text}\n")

    def block(self, text: str) -> None:
        """Several lines that belong together, for the person who looks on alone."""
        with self.lock:
            self._show(f"\n{text.strip()}\n\n")

    def _keep(self, name: str, text: str) -> None:
        path = self.folder / f"{name}.log"
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(text + "\n")
            size = file.tell()
        if size > MOST:
            path.replace(path.with_suffix(".log.1"))

    def _show(self, text: str) -> None:
        encoding = self.stream.encoding or "utf-8"
        with suppress(OSError, ValueError):  # nobody looks on any more: the files have it
            self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self.stream.flush()

    def _prefix(self, name: str) -> str:
        if not self.coloured:
            return f"{name:<{WIDTH}} |"
        colour = self.colours.setdefault(name, COLOURS[len(self.colours) % len(COLOURS)])
        return f"\033[{colour}m{name:<{WIDTH}} |\033[0m"
