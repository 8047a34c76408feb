"""A release's logs, each stage's in the order of the stages, read piece by piece from where a reader was."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ORDER = ("checkout", "environment", "data", "train", "evaluate", "gate", "deploy", "serve")
PIECE = 128 << 10  # bytes that are held of a log at a time


@dataclass(frozen=True)
class Piece:
    """What a stage printed, and the position after it: how far each log was read, as a text."""

    stage: str
    text: str
    position: str


class Tail:
    """Not thread-safe; blocks only for the disk. Logs may be growing, and go on after a retry."""

    def __init__(self, folder: Path, position: str = "") -> None:
        self._folder = folder
        self._read = parsed(position)
        self._until: dict[str, int] | None = None  # sizes of what is there to be read; None: no end yet

    def end(self) -> None:
        """Nothing more is waited for: what is there now is the whole."""
        if self._until is None:
            self._until = {stage: path.stat().st_size for stage, path in logs(self._folder).items()}

    def next(self) -> Piece | None:
        """The next piece; None when all that is there was read."""
        for stage, path in logs(self._folder).items():
            size = path.stat().st_size if self._until is None else self._until.get(stage, 0)
            start = self._read.get(stage, 0)
            if start > size:
                start = 0  # it was begun anew
            if start == size:
                continue
            with path.open("rb") as file:
                file.seek(start)
                data = file.read(min(PIECE, size - start))
            text, taken = decoded(data, last=self._until is not None and start + len(data) == size)
            self._read[stage] = start + taken
            if text:
                return Piece(stage, text, self.position)
        return None

    @property
    def position(self) -> str:
        return ",".join(f"{stage}={read}" for stage, read in self._read.items())


def logs(folder: Path) -> dict[str, Path]:
    """The log of each stage, in the order of the stages."""
    found = {path.stem: path for path in folder.glob("*.log") if path.is_file() and not path.is_symlink()}
    names = [name for name in ORDER if name in found] + sorted(set(found) - set(ORDER))
    return {name: found[name] for name in names}


def parsed(position: str) -> dict[str, int]:
    """A position as a client gives it back; one that is none is the beginning."""
    if not re.fullmatch(r"([a-z]{1,20}=\d{1,15}(,|$)){1,20}", position):
        return {}
    pairs: Mapping[str, str] = dict(part.split("=") for part in position.strip(",").split(","))
    return {stage: int(read) for stage, read in pairs.items()}


def decoded(data: bytes, *, last: bool) -> tuple[str, int]:
    """As much text as is whole, and how many bytes that takes; a character that is half written waits."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data, final=last)
    return text, len(data) - len(decoder.getstate()[0])
