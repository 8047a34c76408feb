"""The gateway's side of the wire to a worker; `ml/model_host/worker.py` has the contract."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ml.model_host.to_json import MAX_DEPTH, is_deeper
from ml.serving.workers import schemas

REQUEST_HEADER = struct.Struct("!II")  # bytes of the payload, id of the request
REPLY_HEADER = struct.Struct("!IIB")  # bytes of the payload, id of the request, kind of the reply
HANDSHAKE, PREDICTION, ERROR, UNREADABLE = range(4)
MAX_REPLY_BYTES = {HANDSHAKE: 256 << 10, PREDICTION: 4 << 20, ERROR: 32 << 10, UNREADABLE: 32 << 10}
MAX_SMALL_BYTES = 64 << 10  # of a prediction that is validated on the event loop
MIN_PIECE_BYTES = 64 << 10  # at least, of every piece of a large one but the last


class ProtocolError(Exception):
    """A reply that matches no request; its worker is not trusted any further."""


class Handshake(msgspec.Struct):
    """The first message of a worker: what its model takes, or why it was not loaded."""

    examples: list[Any] | None = None
    schema: dict[str, Any] | None = None
    batch: bool = False
    load: bool = False
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A worker's reply that is no prediction: bounded, and not yet parsed."""

    payload: bytes


@dataclass(eq=False, slots=True, weakref_slot=True)
class LargePrediction:
    """A prediction of more than `MAX_SMALL_BYTES`, in pieces: it is never joined on the event loop."""

    size: int  # bytes
    pieces: list[bytes] = field(default_factory=list)
    _piece: bytearray = field(default_factory=bytearray)
    _missing: int = -1

    def __post_init__(self) -> None:
        self._missing = self.size

    @property
    def is_complete(self) -> bool:
        return not self._missing

    def add(self, data: bytes, at: int) -> int:
        """Take this prediction's part of `data` from `at` on; return how many bytes that was."""
        part = data[at : at + self._missing]
        self._missing -= len(part)
        if not self._piece and len(part) >= MIN_PIECE_BYTES:
            self.pieces.append(part)
            return len(part)
        self._piece += part
        if self._piece and (len(self._piece) >= MIN_PIECE_BYTES or self.is_complete):
            self.pieces.append(bytes(self._piece))
            self._piece = bytearray()
        return len(part)


PredictionJson = bytes | LargePrediction  # one JSON value
_handshake_decoder = msgspec.json.Decoder(Handshake)


def encode_request(frame: int, bodies: list[bytes]) -> bytes:
    """Return JSON values as they arrived, joined into one array; nothing is encoded again."""
    payload = b"[" + b",".join(bodies) + b"]"
    return REQUEST_HEADER.pack(len(payload), frame) + payload


def parse_handshake(payload: bytes) -> Handshake:
    """Parse a handshake; takes up to a few milliseconds, so not for the event loop.

    Raises `ProtocolError` when it is invalid.
    """
    try:
        handshake = _handshake_decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from error
    if handshake.error is not None and not isinstance(handshake.error.get("message"), str):
        raise ProtocolError("an error without a message")
    if is_deeper([handshake.examples, handshake.schema, handshake.error], MAX_DEPTH + 5):
        raise ProtocolError("it begins with JSON that is nested too deep")
    if handshake.schema is not None:
        try:
            handshake.schema = schemas.normalize_schema(handshake.schema)
        except schemas.SchemaError as wrong:
            raise ProtocolError(
                f"the schema of predict()'s features is not a JSON Schema: {wrong}"
            ) from wrong
    return handshake


class FrameReader:
    """A reader that cuts a socket's data into replies, and refuses unrequested ones by their header.

    `on_replies` gets small replies in their order, as many as arrived together; `on_large` gets one large
    prediction. While `is_paused`, data is buffered and nothing is delivered.
    """

    def __init__(
        self,
        on_replies: Callable[[list[bytes | ErrorReply]], None],
        on_large: Callable[[LargePrediction], None],
        on_other: Callable[[int, bytes], None],
    ) -> None:
        self._on_replies, self._on_large, self._on_other = on_replies, on_large, on_other
        self._buffer = bytearray()
        self._needed = 0
        self._large: LargePrediction | None = None
        self._frame, self._pending = 0, -1  # the request; how many replies are due, -1: the handshake
        self.is_paused = False

    def expect_replies(self, frame: int, rows: int) -> None:
        """Expect replies to that many rows of a request from now on."""
        self._frame, self._pending = frame, rows

    def feed(self, data: bytes) -> None:
        """Deliver complete replies; raises `ProtocolError` at a header that is unrequested or too large."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return  # a long reply is joined once, not at each piece of it
            data = bytes(self._buffer)
        at, end = 0, len(data)
        self._needed = 0
        replies: list[bytes | ErrorReply] = []
        while not self.is_paused:
            if self._large is not None:
                at += self._large.add(data, at)
                if not self._large.is_complete:
                    break
                large, self._large = self._large, None
                self._on_large(large)
                continue
            if end - at < REPLY_HEADER.size:
                self._needed = REPLY_HEADER.size
                break
            length, frame, kind = REPLY_HEADER.unpack_from(data, at)
            is_due = self._pending < 0 if kind == HANDSHAKE else self._pending > len(replies)
            if not is_due or frame != self._frame or length > MAX_REPLY_BYTES.get(kind, -1):
                self._deliver_replies(replies)
                raise self._describe_violation(length, frame, kind)
            begin = at + REPLY_HEADER.size
            if length > MAX_SMALL_BYTES and kind == PREDICTION:
                replies = self._deliver_replies(replies)
                self._large, at = LargePrediction(length), begin
                self._pending -= 1
                continue
            if end - begin < length:
                self._needed = REPLY_HEADER.size + length
                break
            at = begin + length
            if kind == PREDICTION:
                replies.append(data[begin:at])
            elif kind == ERROR:
                replies.append(ErrorReply(data[begin:at]))
            else:
                replies = self._deliver_replies(replies)
                self._pending = 0
                self._on_other(kind, data[begin:at])
        self._buffer = bytearray(data[at:])
        self._deliver_replies(replies)

    def _deliver_replies(self, replies: list[bytes | ErrorReply]) -> list[bytes | ErrorReply]:
        """Deliver the replies; return the list for the next ones."""
        if replies:
            self._pending -= len(replies)
            self._on_replies(replies)
        return []

    def _describe_violation(self, length: int, frame: int, kind: int) -> ProtocolError:
        most = MAX_REPLY_BYTES.get(kind, 0)
        if kind == HANDSHAKE and self._pending < 0 and frame == self._frame:
            return ProtocolError(
                f"it begins with {length:,} bytes, and at most {most:,} are taken: what examples() gives and "
                "the schema of the features have to fit into that"
            )
        if frame == self._frame and self._pending > 0 and length > most > 0:
            return ProtocolError(f"it gave an answer of {length:,} bytes, and at most {most:,} are taken")
        return ProtocolError("reply to an unknown request")
