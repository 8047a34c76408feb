"""A release's logs in the order of its stages, read in chunks from a reader's last position."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from db.models import StageName

LOG_ORDER = (*StageName, "serve")
MAX_CHUNK_BYTES = 128 << 10  # bytes of a log that are in memory at a time


@dataclass(frozen=True)
class LogChunk:
    """A part of a stage's log, and the position after it: the bytes read of each log, as a text."""

    stage: str
    text: str
    position: str


class LogTail:
    """A reader of growing logs, which continue after a retry; not thread-safe, blocks only for the disk."""

    def __init__(self, folder: Path, position: str = "") -> None:
        self._folder = folder
        self._offsets = parse_position(position)
        self._end_sizes: dict[str, int] | None = None  # sizes of the complete logs; None: still growing

    def mark_complete(self) -> None:
        """Take the logs as complete at their present size."""
        if self._end_sizes is None:
            self._end_sizes = {stage: path.stat().st_size for stage, path in find_logs(self._folder).items()}

    def read_next(self) -> LogChunk | None:
        """Return the next chunk; None when everything present was read."""
        for stage, path in find_logs(self._folder).items():
            size = path.stat().st_size if self._end_sizes is None else self._end_sizes.get(stage, 0)
            start = self._offsets.get(stage, 0)
            if start > size:
                start = 0  # the log was started again
            if start == size:
                continue
            with path.open("rb") as file:
                file.seek(start)
                data = file.read(min(MAX_CHUNK_BYTES, size - start))
            text, taken = decode_text(data, last=self._end_sizes is not None and start + len(data) == size)
            self._offsets[stage] = start + taken
            if text:
                return LogChunk(stage, text, self.position)
        return None

    @property
    def position(self) -> str:
        return ",".join(f"{stage}={read}" for stage, read in self._offsets.items())


def find_logs(folder: Path) -> dict[str, Path]:
    """Return the log of each stage, in the order of the stages."""
    found = {path.stem: path for path in folder.glob("*.log") if path.is_file() and not path.is_symlink()}
    names = [name for name in LOG_ORDER if name in found] + sorted(set(found) - set(LOG_ORDER))
    return {name: found[name] for name in names}


def parse_position(position: str) -> dict[str, int]:
    """Parse a position that a client sends back; an invalid one is the beginning."""
    if not re.fullmatch(r"([a-z]{1,20}=\d{1,15}(,|$)){1,20}", position):
        return {}
    pairs: Mapping[str, str] = dict(part.split("=") for part in position.strip(",").split(","))
    return {stage: int(read) for stage, read in pairs.items()}


def decode_text(data: bytes, *, last: bool) -> tuple[str, int]:
    """Return the complete text and its number of bytes; a half-written character is left for later."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data, final=last)
    return text, len(data) - len(decoder.getstate()[0])
