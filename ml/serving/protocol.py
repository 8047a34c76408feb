"""The wire between gateway and worker, the gateway's side; `ml/model/worker.py` has the contract."""

import struct
from collections.abc import Callable
from typing import Any

import msgspec

HEADER = struct.Struct("!II")
LIMIT = 64 << 20  # bytes of an answer: a model that says more is broken, not large
HELLO = 0  # the id of the frame that a worker says first


class Garbled(Exception):
    """A worker said what nobody could have asked for; it is not to be trusted further."""


class Hello(msgspec.Struct):
    """What a worker says once its model is loaded, or why it is not."""

    examples: list[Any] | None = None
    schema: dict[str, Any] | None = None
    batch: bool = False
    load: bool = False
    error: dict[str, Any] | None = None


_rows = msgspec.json.Decoder(list[msgspec.Raw])
_hello = msgspec.json.Decoder(Hello)


def question(frame: int, bodies: list[bytes]) -> bytes:
    """JSON values as they came, joined into one array; nothing is encoded anew."""
    payload = b"[" + b",".join(bodies) + b"]"
    return HEADER.pack(len(payload), frame) + payload


def rows(payload: bytes) -> list[bytes]:
    """The answers in a frame, each as its own JSON; nothing is parsed."""
    try:
        return [bytes(row) for row in _rows.decode(payload)]
    except msgspec.DecodeError as error:
        raise Garbled(str(error)) from error


def hello(payload: bytes) -> Hello:
    try:
        said = _hello.decode(payload)
    except msgspec.DecodeError as error:
        raise Garbled(str(error)) from error
    if said.error is not None and not isinstance(said.error.get("message"), str):
        raise Garbled("an error without a message")
    return said


class Frames:
    """Cuts what a socket delivers into frames."""

    def __init__(self, take: Callable[[int, bytes], None]) -> None:
        self._take = take
        self._rest = bytearray()
        self._needed = 0

    def feed(self, data: bytes) -> None:
        """Give each whole frame to `take`; raises `Garbled` when one is longer than `LIMIT`."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return  # a long answer is put together once, not at each piece of it
            data = bytes(self._rest)
        at, end = 0, len(data)
        self._needed = HEADER.size
        while end - at >= HEADER.size:
            length, frame = HEADER.unpack_from(data, at)
            if length > LIMIT:
                raise Garbled(f"it gave an answer of {length} bytes")
            if end - at < HEADER.size + length:
                self._needed = HEADER.size + length
                break
            at += HEADER.size
            self._take(frame, data[at : at + length])
            at += length
        self._rest = bytearray(data[at:])
