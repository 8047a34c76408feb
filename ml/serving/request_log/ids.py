"""Ids of calls: UUIDv7 that nobody can guess or forge, and what is sampled by them.

48 bits are the time in milliseconds, 42 are random, and the last 32 are a keyed MAC of these and of the
model's name. Whoever has the key can check an id, and decide again whether its call was sampled.
"""

import os
import struct
from binascii import hexlify
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2s
from hmac import compare_digest
from uuid import UUID

from db.request_log import read_id_time

PREFIX_BYTES, MAC_BYTES, SAMPLE_BYTES = 12, 4, 8
SAMPLE_RANGE = 1 << (8 * SAMPLE_BYTES)
POOL_SIZE = 512  # random numbers that are read at once
# of the lower half of the part before the MAC: version 7, 12 random bits, variant 2, 30 random bits
VERSION_BITS, RANDOM_MASK = 0x7000_8000_0000, 0x0FFF_3FFF_FFFF
MAX_MS = (1 << 48) - 1


@dataclass(slots=True)
class CallId:
    """The id of a call, and the hash by which it is sampled."""

    raw: bytes
    digest: bytes

    @property
    def text(self) -> bytes:
        """The id as a header has it."""
        digits = hexlify(self.raw)
        parts = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
        return b"%b-%b-%b-%b-%b" % parts

    @property
    def uuid(self) -> UUID:
        return UUID(bytes=self.raw)

    @property
    def at(self) -> datetime:
        return read_id_time(self.uuid)

    def is_sampled(self, share: float) -> bool:
        """Return whether a call is among this share of all: always the same for one id and share."""
        return int.from_bytes(self.digest[MAC_BYTES:]) < share * SAMPLE_RANGE


class IdMaker:
    """The ids of one model's calls."""

    def __init__(self, key: bytes, model: str) -> None:
        self._hash = blake2s(model.encode(), key=key, digest_size=MAC_BYTES + SAMPLE_BYTES)
        self._random = iterate_random()

    def make(self, ms: int) -> CallId:
        """Return a new id of a call that came at `ms` milliseconds of Unix's time."""
        random = VERSION_BITS | next(self._random) & RANDOM_MASK
        prefix = ((ms & MAX_MS) << 48 | random).to_bytes(PREFIX_BYTES)
        digest = self._digest(prefix)
        return CallId(prefix + digest[:MAC_BYTES], digest)

    def find(self, text: str) -> CallId | None:
        """Return the id when it was made here for this model; None for any other text."""
        try:
            raw = UUID(text).bytes
        except ValueError:
            return None
        digest = self._digest(raw[:PREFIX_BYTES])
        if not compare_digest(digest[:MAC_BYTES], raw[PREFIX_BYTES:]):
            return None
        return CallId(raw, digest)

    def _digest(self, prefix: bytes) -> bytes:
        keyed = self._hash.copy()
        keyed.update(prefix)
        return keyed.digest()


def iterate_random() -> Iterator[int]:
    """Yield random numbers of 64 bits, read many at a time: one system call for each would be slow."""
    while True:
        yield from struct.unpack(f"{POOL_SIZE}Q", os.urandom(8 * POOL_SIZE))
