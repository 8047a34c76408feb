"""A file on the appliance, by file:// or found in SLIPWAY_DATA."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from common.errors import RejectedError
from ml.sources.fetch.origin import FileContent, FileVersion, OriginChangedError, mask_address

CHUNK_BYTES = 1 << 20


class LocalFile:
    """A file of the appliance, copied and not read in place: it may change, or be readable by us alone."""

    def __init__(self, path: Path, named: Path) -> None:
        """Set the real `path`, without links, and `named`, by which the data set is called."""
        self.path, self.address = path, named.as_uri()

    def get_version(self) -> FileVersion:
        try:
            found = self.path.stat()
        except OSError as error:
            raise RejectedError(f"{self.path} cannot be read on the appliance: {error.strerror}") from error
        if not self.path.is_file():
            raise RejectedError(f"{self.path} on the appliance is not a file")
        # ctime changes also where somebody resets mtime
        return FileVersion(f"{found.st_ino}-{found.st_mtime_ns}-{found.st_ctime_ns}", size=found.st_size)

    @contextmanager
    def read(self, start: int, version: FileVersion) -> Iterator[FileContent]:
        now = self.get_version()
        start = start if now.is_same(version) else 0
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                yield FileContent(now, start, iter(lambda: file.read(CHUNK_BYTES), b""))
        except PermissionError as error:
            raise RejectedError(f"{self.path} cannot be read on the appliance: {error.strerror}") from error
        if not self.get_version().is_same(now):
            raise OriginChangedError


def parse_file_url(address: str) -> Path:
    """Return the path in a file:// address."""
    parts = urlsplit(address)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or "\0" in path:
        raise RejectedError(
            f"{mask_address(address)} is not in SLIPWAY_DATA: it names no file of this machine"
        )
    return Path(os.path.normpath(path))
