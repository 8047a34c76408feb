"""The parts of every call: an id that is also in the log, and a body of bounded size in memory."""

import asyncio
import itertools
import re
import secrets
from collections.abc import Iterable

import msgspec
from starlette.types import Receive

from common.problems import ProblemError

MAX_BODY_BYTES = 1 << 20  # bytes of a body
MAX_DISCARD_BYTES = 16 << 20  # bytes of one that is refused and read to its end all the same
SLOW = 30.0  # seconds within which a body has to arrive
MAX_RESERVED_BYTES = 64 << 20  # bytes of bodies that are being read or wait for an answer, all together
VALID_ID = re.compile(rb"[!-~]{1,100}").fullmatch
# of JSON; no quote in one begins another
JSON_STRING = re.compile(rb'(?<!\\)"(?:[^"\\]++|\\.)*+"', re.DOTALL)
NON_FINITE = re.compile(rb"\b(NaN|Infinity)\b")
_process_id, _request_counter = secrets.token_hex(5).encode(), itertools.count(1)


class ByteBudget:
    """A limit on the bytes of bodies that are in memory at a time."""

    def __init__(self, limit: int = MAX_RESERVED_BYTES, reason: str = "features wait already") -> None:
        self.limit, self.reserved, self._reason = limit, 0, reason

    def reserve(self, size: int) -> "Reservation":
        """Reserve bytes for a block; raises `ProblemError` when there is no room for them."""
        reservation = Reservation(self)
        reservation.grow(size)
        return reservation

    def add(self, size: int) -> None:
        if self.reserved + size > self.limit:
            raise overloaded_problem(f"{self.limit >> 20} MiB of {self._reason}")
        self.reserved += size


class Reservation:
    """Bytes of a budget, until the end of a `with` block or `release`."""

    __slots__ = ("_budget", "size")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget, self.size = budget, 0

    def grow(self, size: int) -> None:
        """Reserve more bytes; raises `ProblemError` when there is no room for them."""
        self._budget.add(size)
        self.size += size

    def release(self) -> None:
        self._budget.reserved -= self.size
        self.size = 0

    def __enter__(self) -> "Reservation":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def choose_request_id(given: bytes | None) -> bytes:
    """Return the client's id of its request when it can be logged; else a unique one."""
    if given is not None and VALID_ID(given):
        return given
    return b"%s-%x" % (_process_id, next(_request_counter))


async def receive_body(headers: dict[bytes, bytes], receive: Receive, budget: ByteBudget) -> bytes | None:
    """Return the body; None when the client left before its end.

    Raises `ProblemError`, a 413 when it is longer than `MAX_BODY_BYTES`. One that is a little longer is read
    to its end and discarded: a client that is cut off while sending often does not see the answer.
    """
    if b"expect" in headers:
        check_expect_header(headers)
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > MAX_BODY_BYTES:
            raise too_large_problem(close=False)
        return None if message["type"] == "http.disconnect" else body
    pieces: list[bytes] = []
    try:
        with budget.reserve(0) as reservation:
            async with asyncio.timeout(SLOW):
                whole = await receive_rest(body, pieces, receive, reservation)
    except TimeoutError as error:
        detail = f"The body was not there after {SLOW:g} s; its end was never sent."
        raise ProblemError(408, "The body is too slow", detail, headers={"Connection": "close"}) from error
    return b"".join(pieces) if whole else None


async def receive_rest(piece: bytes, pieces: list[bytes], receive: Receive, reservation: Reservation) -> bool:
    """Return True when the client stayed to the end of its body, which is in `pieces` and reserved."""
    length = 0
    while True:
        length += len(piece)
        if length <= MAX_BODY_BYTES:
            reservation.grow(len(piece))
            pieces.append(piece)
        elif length > MAX_DISCARD_BYTES:
            raise too_large_problem(close=True)
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        piece = message.get("body", b"")
        if not message.get("more_body"):
            break
    if length + len(piece) > MAX_BODY_BYTES:
        raise too_large_problem(close=False)
    reservation.grow(len(piece))
    pieces.append(piece)
    return True


def check_expect_header(headers: dict[bytes, bytes]) -> None:
    """Raise `ProblemError` for an Expect header, sent before the body, that cannot be met."""
    expected = headers[b"expect"]
    if expected.lower() != b"100-continue":
        detail = f"Only `Expect: 100-continue` works here, not {expected.decode('latin-1')!r}."
        raise ProblemError(
            417, "Slipway does not support this Expect header", detail, headers={"Connection": "close"}
        )
    if int(headers.get(b"content-length", b"0")) > MAX_BODY_BYTES:
        raise too_large_problem(close=True)


def too_large_problem(*, close: bool) -> ProblemError:
    detail = f"The body is longer than {MAX_BODY_BYTES} bytes: send fewer features at a time."
    return ProblemError(
        413, "The body is too large", detail, headers={"Connection": "close"} if close else {}
    )


def not_json_problem(
    error: Exception, headers: dict[bytes, bytes], body: bytes, expected: str
) -> ProblemError:
    """Explain why a body could not be read: by its declared type, else by the place of the JSON error."""
    coded = headers.get(b"content-encoding", b"identity").decode("latin-1")
    kind = headers.get(b"content-type", b"").decode("latin-1").split(";")[0].strip().lower()
    if coded != "identity":
        return ProblemError(
            415, "The body is encoded", f"Content-Encoding {coded} is not taken: send plain JSON."
        )
    if kind and kind != "application/x-www-form-urlencoded" and not kind.endswith("json"):
        other = " /invocations takes CSV." if kind == "text/csv" else ""
        detail = f"It has to be {expected} as JSON, but its Content-Type is {kind}.{other}"
        return ProblemError(415, "The body is not JSON", detail)
    detail = f"The body has to be {expected} as JSON: {explain_not_json(error, body)}."
    return ProblemError(400, "The body is not JSON", detail)


def explain_not_json(error: Exception, body: bytes) -> str:
    """Explain the error, with its fix where the mistake is a common one."""
    if not body.strip():
        return "it is empty"
    if NON_FINITE.search(JSON_STRING.sub(b'""', body)):
        return "NaN and Infinity are no JSON, send null for a number that is missing"
    first, *more = body.split(b"\n", 2)
    if more and is_json_line(first) and is_json_line(more[0]):
        return (
            "it is several lines of JSON, send one line a request, or many rows to /invocations as "
            '{"instances": [...]}'
        )
    return str(error)


def is_json_line(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def overloaded_problem(reason: str) -> ProblemError:
    detail = f"The model's workers are overloaded: {reason}. Try again in a moment."
    return ProblemError(503, "Overloaded", detail, headers={"Retry-After": "1"})


def format_ids(ids: Iterable[bytes]) -> str:
    """Return the first few request ids for a log line."""
    names = [name.decode() for name in itertools.islice((name for name in ids if name), 9)]
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") or "of our own"
