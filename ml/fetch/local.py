"""A file on the appliance, by file:// or found in SLIPWAY_DATA."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ml.errors import Rejected
from ml.fetch.origin import Changed, Content, Version, shown

CHUNK = 1 << 20
SHARED = "shared"  # the folder in SLIPWAY_DATA that all models may read


@dataclass(frozen=True)
class DataFolders:
    """The folders of the appliance that one model's data may lie in."""

    whole: Path  # SLIPWAY_DATA
    own: Path  # the model's in it
    readable: tuple[Path, ...]

    def check(self, path: Path, named: str) -> Path:
        """Return where `path` is once links are followed.

        Raises `Rejected` when that is in no readable folder: a link is followed with our rights.
        """
        real = path.resolve()
        if any(real.is_relative_to(folder.resolve()) for folder in self.readable):
            return real
        if path.is_relative_to(self.whole) and real != path.parent.resolve() / path.name:
            raise Rejected(f"{named} is a link out of the model's folders for data: {self.cure}")
        if path.is_relative_to(self.whole):
            raise Rejected(f"{named} is not in a folder for this model's data: {self.cure}")
        raise Rejected(
            f"{named} is not in {self.own}: of the appliance's own files, a model may use those in its "
            "folder for data (SLIPWAY_DATA)"
        )

    @property
    def cure(self) -> str:
        return (
            f"put it in {self.own}, or in {self.whole / SHARED} for all models, or name its folder in the "
            "model's section of models.toml, as data = [...]"
        )


class Local:
    """It is copied, not read in place: it may change while a model trains, or be ours alone to read."""

    def __init__(self, path: Path, named: Path) -> None:
        """`path` has no links; `named` is what the data set is called after."""
        self.path, self.address = path, named.as_uri()

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


def path_of(address: str) -> Path:
    """Return the path in a file:// address."""
    parts = urlsplit(address)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or "\0" in path:
        raise Rejected(f"{shown(address)} is not in SLIPWAY_DATA: it names no file of this machine")
    return Path(os.path.normpath(path))
