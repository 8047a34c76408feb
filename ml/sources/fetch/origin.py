"""The interface of external files, and the display of their addresses without secrets."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit, urlunsplit


class OriginError(Exception):
    """An origin that did not answer, or not to the end: received bytes stay, and it may be resumed."""


class OriginChangedError(Exception):
    """A change of the version during a download: it starts from scratch."""


@dataclass(frozen=True)
class FileVersion:
    """The version that an origin reports of its bytes; a value that it does not report is None."""

    etag: str | None = None  # or another value that the origin changes with each version
    modified: str | None = None
    size: int | None = None

    def is_compatible(self, other: "FileVersion") -> bool:
        """Return True when no value that both have differs."""
        pairs = ((self.etag, other.etag), (self.modified, other.modified), (self.size, other.size))
        return all(one == two for one, two in pairs if one is not None and two is not None)

    def is_same(self, other: "FileVersion") -> bool:
        """Return True when both are certainly one version; a size alone proves nothing."""
        has_identity = (self.etag and other.etag) or (self.modified and other.modified)
        return bool(has_identity) and self.is_compatible(other)


@dataclass(frozen=True)
class FileContent:
    """The bytes of one version from `start` to the end."""

    version: FileVersion
    start: int
    chunks: Iterator[bytes]


class Origin(Protocol):
    """An external file. Both calls raise `RejectedError`, or `OriginError` for an external fault."""

    address: str  # complete, secrets included: a key, never to be displayed

    def get_version(self) -> FileVersion:
        """Return the current version; transfers no content."""

    def read(self, start: int, version: FileVersion) -> AbstractContextManager[FileContent]:
        """Return the content from `start` on if it still is `version`, else from its beginning."""


def mask_address(address: str) -> str:
    """Return an address for display: without its password, and without a query, which may be a signature."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "what is named there"
    host = re.sub(r"^.*@", "***@", parts.netloc, flags=re.DOTALL)
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


def safe_file_name(address: str) -> str:
    """Return the last part of an address, safe in a path: libraries read its suffix, such as `.csv.gz`."""
    last = PurePosixPath(unquote(urlsplit(address).path)).name
    return re.sub(r"[^\w.-]", "_", last, flags=re.ASCII).strip(".")[-100:] or "data"
