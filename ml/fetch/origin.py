"""What is known of a file that lies elsewhere, and how it is told without its secrets."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit, urlunsplit


class Broken(Exception):
    """It did not answer, or not to the end: what came is kept, and it may go on from there."""


class Changed(Exception):
    """What came so far is of another version than what comes now: it is begun anew."""


@dataclass(frozen=True)
class Version:
    """What an origin says of the bytes that it holds now; what it does not say is None."""

    etag: str | None = None  # or whatever else the origin changes with each version
    modified: str | None = None
    size: int | None = None

    def agrees(self, other: "Version") -> bool:
        """Whether nothing that both say differs."""
        pairs = ((self.etag, other.etag), (self.modified, other.modified), (self.size, other.size))
        return all(one == two for one, two in pairs if one is not None and two is not None)

    def same(self, other: "Version") -> bool:
        """Whether both are surely one version; a size alone says nothing."""
        named = (self.etag and other.etag) or (self.modified and other.modified)
        return bool(named) and self.agrees(other)


@dataclass(frozen=True)
class Content:
    """Bytes of one version from `start` to the end."""

    version: Version
    start: int
    chunks: Iterator[bytes]


class Origin(Protocol):
    """One file elsewhere. Both calls raise `Rejected`, or `Broken` when the world is at fault."""

    address: str  # complete, secrets included: a key, never to be shown

    def look(self) -> Version:
        """What is there now; moves no content."""

    def read(self, start: int, version: Version) -> AbstractContextManager[Content]:
        """The content from `start` on if it still is `version`, else from its beginning."""


def shown(address: str) -> str:
    """An address for people: without its password, and without a query, which may be a signature."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "what is named there"
    host = re.sub(r"^.*@", "***@", parts.netloc, flags=re.DOTALL)
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


def file_name(address: str) -> str:
    """The last part of an address, fit for a folder: libraries read its ending, as `.csv.gz`."""
    last = PurePosixPath(unquote(urlsplit(address).path)).name
    return re.sub(r"[^\w.-]", "_", last, flags=re.ASCII).strip(".")[-100:] or "data"
