"""A file on the appliance, by file:// or found in SLIPWAY_DATA."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ml.errors import Rejected
from ml.fetch.origin import Changed, Content, Version, shown

CHUNK = 1 << 20


class Local:
    """It is copied, not read in place: it may change while a model trains, or be ours alone to read."""

    def __init__(self, path: Path) -> None:
        self.path, self.address = path, path.as_uri()

    def look(self) -> Version:
        try:
            found = self.path.stat()
        except OSError as error:
            raise Rejected(f"{self.path} cannot be read on the appliance: {error.strerror}") from error
        if not self.path.is_file():
            raise Rejected(f"{self.path} on the appliance is no file")
        # ctime changes also where somebody sets mtime back
        return Version(f"{found.st_ino}-{found.st_mtime_ns}-{found.st_ctime_ns}", size=found.st_size)

    @contextmanager
    def read(self, start: int, version: Version) -> Iterator[Content]:
        now = self.look()
        start = start if now.same(version) else 0
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                yield Content(now, start, iter(lambda: file.read(CHUNK), b""))
        except PermissionError as error:
            raise Rejected(f"{self.path} cannot be read on the appliance: {error.strerror}") from error
        if not self.look().same(now):
            raise Changed


def path_of(address: str, below: Path) -> Path:
    """The path in a file:// address, which has to be below the folder that is meant for data."""
    parts = urlsplit(address)
    path = Path(os.path.normpath(unquote(parts.path)))
    if parts.netloc not in ("", "localhost") or "\0" in str(path) or not path.is_relative_to(below):
        raise Rejected(
            f"{shown(address)} is not in {below}: of the appliance's own files, a model may use those in its "
            "folder for data (SLIPWAY_DATA)"
        )
    return path
