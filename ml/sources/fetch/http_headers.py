"""Versions and ranges, as headers of HTTP give them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from ml.sources.fetch.origin import FileVersion, OriginChangedError

CONTENT_RANGE_PATTERN = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)


@dataclass(frozen=True)
class HttpResponse:
    status: int
    headers: dict[str, str]  # by lower-case names
    chunks: Iterator[bytes]


def parse_version(answer: HttpResponse) -> FileVersion:
    """Return the version in the headers.

    A date alone counts only once it is past: two changes may share a second.
    """
    ranged = CONTENT_RANGE_PATTERN.match(answer.headers.get("content-range", ""))
    length = ranged[2] if ranged else answer.headers.get("content-length", "")
    etag, modified = answer.headers.get("etag"), answer.headers.get("last-modified")
    if not etag and modified and not is_settled(modified, answer.headers.get("date")):
        modified = None
    return FileVersion(etag, modified, int(length) if re.fullmatch(r"\d{1,18}", length, re.ASCII) else None)


def is_settled(modified: str, date: str | None) -> bool:
    try:
        return parsedate_to_datetime(date or "") - parsedate_to_datetime(modified) > timedelta(seconds=1)
    except (ValueError, TypeError, OverflowError):  # no date, or two of different kinds
        return False


def strong_validator(version: FileVersion) -> str | None:
    """Return the value for `If-Range`: it identifies the same bytes, not just the same meaning."""
    if version.etag:
        return None if version.etag.startswith("W/") else version.etag
    return version.modified


def parse_first_byte(answer: HttpResponse) -> int:
    found = CONTENT_RANGE_PATTERN.match(answer.headers.get("content-range", ""))
    if found is None:
        raise OriginChangedError
    return int(found[1])


def status_phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in list(HTTPStatus) else ""
