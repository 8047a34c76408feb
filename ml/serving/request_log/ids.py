"""Ids of calls: UUIDv7 that nobody can guess or forge, and what is sampled by them.

48 bits are the time in milliseconds, 42 are random, and the last 32 are a keyed MAC of these and of the
model's name. Whoever has the key can check an id, and decide again whether its call was sampled.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from hmac import compare_digest
from uuid import UUID

PREFIX_BYTES, MAC_BYTES, SAMPLE_BYTES, RANDOM_BYTES = 12, 4, 8, 6
SAMPLE_RANGE = 1 << (8 * SAMPLE_BYTES)
POOL_BYTES = 4096  # random bytes that are read at once
VERSION, VARIANT = 0x70, 0x80


@dataclass(slots=True)
class CallId:
    """The id of a call, and the number by which it is sampled."""

    raw: bytes
    draw: int

    @property
    def text(self) -> bytes:
        """The id as a header has it."""
        digits = self.raw.hex().encode()
        return b"-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    @property
    def uuid(self) -> UUID:
        return UUID(bytes=self.raw)

    @property
    def at(self) -> datetime:
        return read_time(self.raw)

    def is_sampled(self, share: float) -> bool:
        """Return whether a call is among this share of all: always the same for one id and share."""
        return self.draw < share * SAMPLE_RANGE


class IdMaker:
    """The ids of one model's calls."""

    def __init__(self, key: bytes, model: str) -> None:
        self._hash = blake2b(model.encode(), key=key, digest_size=MAC_BYTES + SAMPLE_BYTES)
        self._random = iterate_random()

    def make(self, clock_offset_ms: int = 0) -> CallId:
        """Return a new id; the offset is that of Postgres's clock, to which stored times belong."""
        ms = (time.time_ns() // 1_000_000 + clock_offset_ms) & 0xFFFFFFFFFFFF
        random = bytearray(next(self._random))
        random[0] = VERSION | random[0] & 0x0F
        random[2] = VARIANT | random[2] & 0x3F
        prefix = ms.to_bytes(6) + random
        digest = self._digest(prefix)
        return CallId(prefix + digest[:MAC_BYTES], int.from_bytes(digest[MAC_BYTES:]))

    def find(self, text: str) -> CallId | None:
        """Return the id when it was made here for this model; None for any other text."""
        try:
            raw = UUID(text).bytes
        except ValueError:
            return None
        digest = self._digest(raw[:PREFIX_BYTES])
        if not compare_digest(digest[:MAC_BYTES], raw[PREFIX_BYTES:]):
            return None
        return CallId(raw, int.from_bytes(digest[MAC_BYTES:]))

    def _digest(self, prefix: bytes) -> bytes:
        keyed = self._hash.copy()
        keyed.update(prefix)
        return keyed.digest()


def iterate_random() -> Iterator[bytes]:
    """Yield random bytes, which are read many at a time: one system call for each would be slow."""
    while True:
        pool = os.urandom(POOL_BYTES - POOL_BYTES % RANDOM_BYTES)
        for at in range(0, len(pool), RANDOM_BYTES):
            yield pool[at : at + RANDOM_BYTES]


def read_time(raw: bytes) -> datetime:
    """Return the time in an id, by which its row's partition is found."""
    ms = int.from_bytes(raw[:6])
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
