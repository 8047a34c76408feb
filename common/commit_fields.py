"""Fields of untrusted commits: one line of text, a time that may be any, and lengths without end."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO

MAX_FIELD_BYTES = 4096  # that are stored of a field of git's output


def split_fields(stream: IO[bytes]) -> Iterator[str]:
    """Yield git's fields that end by NUL, each cut: a subject may have megabytes."""
    field = b""
    while chunk := stream.read(1 << 16):
        first, *rest = chunk.split(b"\0")
        field += first[: MAX_FIELD_BYTES - len(field)]
        for part in rest:
            yield field.decode(errors="replace")
            field = part[:MAX_FIELD_BYTES]


def to_single_line(text: str) -> str:
    """Return one line of characters that Postgres, a page and a terminal can show."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def parse_commit_time(seconds: str) -> datetime:
    """Return the time that a commit claims; now at the latest."""
    plain = seconds.isascii() and seconds.isdigit() and len(seconds) < 20
    return datetime.fromtimestamp(min(int(seconds) if plain else 0, datetime.now(UTC).timestamp()), UTC)
