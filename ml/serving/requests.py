"""What every call has: a name that is also in the log, and a body that is bounded while it is held."""

import asyncio
import itertools
import re
import secrets
from collections.abc import Iterable

from starlette.types import Receive

from common.problems import Problem

LIMIT = 1 << 20  # bytes of a body
PATIENCE = 16 << 20  # bytes of one that is refused and read all the same
SLOW = 30.0  # seconds in which a body has to be there
HELD = 64 << 20  # bytes of bodies that are being read or wait for an answer, all together
SANE = re.compile(rb"[!-~]{1,100}").fullmatch
_process, _count = secrets.token_hex(5).encode(), itertools.count(1)


class Held:
    """How many bytes of bodies are held right now."""

    def __init__(self, limit: int = HELD, what: str = "features wait already") -> None:
        self.limit, self.bytes, self._what = limit, 0, what

    def add(self, more: int) -> None:
        """Give them back with `bytes -= more`; raises `Problem` when there is no room for them."""
        if self.bytes + more > self.limit:
            raise overloaded(f"{self.limit >> 20} MiB of {self._what}")
        self.bytes += more

    def give_back(self, less: int) -> None:
        self.bytes -= less


def named(given: bytes | None) -> bytes:
    """What the client calls its request, when that can stand in a log; else a name that no other has."""
    if given is not None and SANE(given):
        return given
    return b"%s-%x" % (_process, next(_count))


async def read(headers: dict[bytes, bytes], receive: Receive, held: Held) -> bytes | None:
    """The body; None when the client left before its end, a 413 when it is longer than `LIMIT`.

    One that is longer by little is read to its end and forgotten: who is cut off while sending often does not
    see the answer.
    """
    if b"expect" in headers:
        expect(headers)
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > LIMIT:
            raise too_large(close=False)
        return None if message["type"] == "http.disconnect" else body
    pieces: list[bytes] = []
    try:
        async with asyncio.timeout(SLOW):
            whole = await rest(body, pieces, receive, held)
    except TimeoutError as error:
        detail = f"The body was not there after {SLOW:g} s; its end was never sent."
        raise Problem(408, "The body is too slow", detail, headers={"Connection": "close"}) from error
    finally:
        held.bytes -= sum(map(len, pieces))
    return b"".join(pieces) if whole else None


async def rest(piece: bytes, pieces: list[bytes], receive: Receive, held: Held) -> bool:
    """Whether the client stayed to the end of its body; what it sent is in `pieces`, and held."""
    length = 0
    while True:
        length += len(piece)
        if length <= LIMIT:
            held.add(len(piece))
            pieces.append(piece)
        elif length > PATIENCE:
            raise too_large(close=True)
        message = await receive()
        if message["type"] == "http.disconnect":
            return False
        piece = message.get("body", b"")
        if not message.get("more_body"):
            break
    if length + len(piece) > LIMIT:
        raise too_large(close=False)
    held.add(len(piece))
    pieces.append(piece)
    return True


def expect(headers: dict[bytes, bytes]) -> None:
    """What a client asks before it sends its body."""
    expected = headers[b"expect"]
    if expected.lower() != b"100-continue":
        detail = f"Nothing but 100-continue can be expected here, not {expected.decode('latin-1')!r}."
        raise Problem(417, "That cannot be expected", detail, headers={"Connection": "close"})
    if int(headers.get(b"content-length", b"0")) > LIMIT:
        raise too_large(close=True)


def too_large(*, close: bool) -> Problem:
    detail = f"The body is longer than {LIMIT} bytes: send fewer features at a time."
    return Problem(413, "The body is too large", detail, headers={"Connection": "close"} if close else {})


def not_json(error: Exception, headers: dict[bytes, bytes], wanted: str) -> Problem:
    """Why a body could not be read: by what it says it is, else by where it stops to be JSON."""
    coded = headers.get(b"content-encoding", b"identity").decode("latin-1")
    kind = headers.get(b"content-type", b"").decode("latin-1").split(";")[0].strip().lower()
    if coded != "identity":
        return Problem(415, "The body is encoded", f"Content-Encoding {coded} is not taken: send plain JSON.")
    if kind and kind != "application/x-www-form-urlencoded" and not kind.endswith("json"):
        return Problem(415, "The body is not JSON", f"It has to be {wanted} as JSON, and says it is {kind}.")
    return Problem(400, "The body is not JSON", f"The body has to be {wanted} as JSON: {error}.")


def overloaded(because: str) -> Problem:
    detail = f"There is more to predict than the workers can do: {because}. Try again in a moment."
    return Problem(503, "Too busy", detail, headers={"Retry-After": "1"})


def texts(names: Iterable[bytes]) -> str:
    """Requests as a line of the log names them: the first few."""
    known = [name.decode() for name in itertools.islice((name for name in names if name), 9)]
    return ", ".join(known[:8]) + (", …" if len(known) > 8 else "") or "of our own"
