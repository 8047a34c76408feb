"""The wire between gateway and worker, the gateway's side; `ml/model/worker.py` has the contract."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ml.model.jsonable import DEEPEST, is_deeper
from ml.serving import schemas

QUESTION = struct.Struct("!II")  # bytes of the payload, id of the question
REPLY = struct.Struct("!IIB")  # bytes of the payload, id of the question, kind of the reply
HELLO, PREDICTION, FAULT, UNREADABLE = range(4)
MAX_BYTES = {HELLO: 256 << 10, PREDICTION: 4 << 20, FAULT: 32 << 10, UNREADABLE: 32 << 10}
MAX_SMALL_BYTES = 64 << 10  # of a prediction that is looked through on the event loop
PIECE_BYTES = 64 << 10  # at least, of every piece of a large one but the last


class Garbled(Exception):
    """A worker said what nobody could have asked for; it is not to be trusted further."""


class Hello(msgspec.Struct):
    """What a worker says once its model is loaded, or why it is not."""

    examples: list[Any] | None = None
    schema: dict[str, Any] | None = None
    batch: bool = False
    load: bool = False
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A worker's reply that is no prediction: bounded, and not yet read."""

    payload: bytes


@dataclass(eq=False, slots=True, weakref_slot=True)
class Large:
    """A prediction of more than `MAX_SMALL_BYTES`, in pieces: it is never put together on the event loop."""

    size: int  # bytes
    pieces: list[bytes] = field(default_factory=list)
    _piece: bytearray = field(default_factory=bytearray)
    _missing: int = -1

    def __post_init__(self) -> None:
        self._missing = self.size

    @property
    def is_whole(self) -> bool:
        return not self._missing

    def add(self, data: bytes, at: int) -> int:
        """Take what is this prediction's of `data` from `at` on; return how many bytes that were."""
        part = data[at : at + self._missing]
        self._missing -= len(part)
        if not self._piece and len(part) >= PIECE_BYTES:
            self.pieces.append(part)
            return len(part)
        self._piece += part
        if self._piece and (len(self._piece) >= PIECE_BYTES or self.is_whole):
            self.pieces.append(bytes(self._piece))
            self._piece = bytearray()
        return len(part)


PredictionJson = bytes | Large  # one JSON value
_hello = msgspec.json.Decoder(Hello)


def question(frame: int, bodies: list[bytes]) -> bytes:
    """JSON values as they came, joined into one array; nothing is encoded anew."""
    payload = b"[" + b",".join(bodies) + b"]"
    return QUESTION.pack(len(payload), frame) + payload


def hello(payload: bytes) -> Hello:
    """Raises `Garbled`; up to a few milliseconds, so not for the event loop."""
    try:
        said = _hello.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Garbled(str(error)) from error
    if said.error is not None and not isinstance(said.error.get("message"), str):
        raise Garbled("an error without a message")
    if is_deeper([said.examples, said.schema, said.error], DEEPEST + 5):
        raise Garbled("it begins with JSON that is nested too deep")
    if said.schema is not None:
        try:
            said.schema = schemas.checked(said.schema)
        except schemas.SchemaError as wrong:
            raise Garbled(f"the schema of predict()'s features is no JSON Schema: {wrong}") from wrong
    return said


class Frames:
    """Cuts what a socket delivers into replies, and refuses what was not asked for by its header.

    `take` gets small replies in their order, as many as came together; `take_large` gets one large
    prediction. While `paused`, what comes is kept and nothing is given.
    """

    def __init__(
        self,
        take: Callable[[list[bytes | Fault]], None],
        take_large: Callable[[Large], None],
        take_other: Callable[[int, bytes], None],
    ) -> None:
        self._take, self._take_large, self._take_other = take, take_large, take_other
        self._rest = bytearray()
        self._needed = 0
        self._large: Large | None = None
        self._frame, self._open = 0, -1  # the question; how many replies are to come, -1: the hello
        self.paused = False

    def expect(self, frame: int, rows: int) -> None:
        """From now on, replies to that many rows of a question."""
        self._frame, self._open = frame, rows

    def feed(self, data: bytes) -> None:
        """Give what is whole; raises `Garbled` at the header of what is not asked for or too large."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return  # a long reply is put together once, not at each piece of it
            data = bytes(self._rest)
        at, end = 0, len(data)
        self._needed = 0
        replies: list[bytes | Fault] = []
        while not self.paused:
            if self._large is not None:
                at += self._large.add(data, at)
                if not self._large.is_whole:
                    break
                large, self._large = self._large, None
                self._take_large(large)
                continue
            if end - at < REPLY.size:
                self._needed = REPLY.size
                break
            length, frame, kind = REPLY.unpack_from(data, at)
            is_due = self._open < 0 if kind == HELLO else self._open > len(replies)
            if not is_due or frame != self._frame or length > MAX_BYTES.get(kind, -1):
                self._give(replies)
                raise self._refusal(length, frame, kind)
            begin = at + REPLY.size
            if length > MAX_SMALL_BYTES and kind == PREDICTION:
                replies = self._give(replies)
                self._large, at = Large(length), begin
                self._open -= 1
                continue
            if end - begin < length:
                self._needed = REPLY.size + length
                break
            at = begin + length
            if kind == PREDICTION:
                replies.append(data[begin:at])
            elif kind == FAULT:
                replies.append(Fault(data[begin:at]))
            else:
                replies = self._give(replies)
                self._open = 0
                self._take_other(kind, data[begin:at])
        self._rest = bytearray(data[at:])
        self._give(replies)

    def _give(self, replies: list[bytes | Fault]) -> list[bytes | Fault]:
        """Hand them over; gives the list for the next ones."""
        if replies:
            self._open -= len(replies)
            self._take(replies)
        return []

    def _refusal(self, length: int, frame: int, kind: int) -> Garbled:
        most = MAX_BYTES.get(kind, 0)
        if kind == HELLO and self._open < 0 and frame == self._frame:
            return Garbled(
                f"it begins with {length:,} bytes, and at most {most:,} are taken: what examples() gives and "
                "the schema of the features have to fit into that"
            )
        if frame == self._frame and self._open > 0 and length > most > 0:
            return Garbled(f"it gave an answer of {length:,} bytes, and at most {most:,} are taken")
        return Garbled("it answered what was not asked")
