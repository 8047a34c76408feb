"""The hot path: POST /predict as a raw ASGI route beside FastAPI; a body is forwarded as it came."""

from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.problems import Problem
from ml.serving.answers import labelled
from ml.serving.live import Places
from ml.serving.recorder import Recorder

LIMIT = 1 << 20  # bytes of a body
PATIENCE = 16 << 20  # bytes of one that is refused and read all the same
JSON = (b"content-type", b"application/json")
check = msgspec.json.Decoder().decode


class Gateway:
    """POST /predict and /models/{name}/predict are answered here, everything else by `beside`."""

    def __init__(self, places: Places, recorder: Recorder, beside: ASGIApp) -> None:
        self.places, self.recorder, self.beside = places, recorder, beside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.beside(scope, receive, send)
            return
        path: str = scope["path"]
        if path == "/predict":
            await self._answer(None, scope, receive, send)
        elif path.startswith("/models/") and path.endswith("/predict") and path.count("/") == 3:
            await self._answer(path[8:-8], scope, receive, send)
        else:
            await self.beside(scope, receive, send)

    async def _answer(self, model: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read(scope, receive)
            if body is None:
                return  # the client has left
            payload, release = await self.predict(model, body)
        except Problem as problem:
            await tell(send, problem)
            return
        headers = [JSON, (b"content-length", b"%d" % len(payload)), (b"x-slipway-release", release)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    async def predict(self, model: str | None, body: bytes) -> tuple[bytes, bytes]:
        """The answer's body and the release that gave it; raises `Problem`."""
        live = self.places.find(model).live
        if live is None:
            raise nothing_live()
        try:
            check(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            detail = f"The body has to be the features as JSON: {error}."
            raise Problem(400, "The body is not JSON", detail) from error
        row, label = await live.pool.ask(body)
        payload = labelled(row, label)
        self.recorder.offer(label, body, row)
        return payload, label.header


def nothing_live() -> Problem:
    detail = "No release of this model has gone live yet; GET / says what is being done about it."
    return Problem(503, "Nothing is live yet", detail, headers={"Retry-After": "5"})


async def read(scope: Scope, receive: Receive) -> bytes | None:
    """The body; None when the client left before its end, a 413 when it is longer than `LIMIT`.

    One that is longer by little is read to its end and forgotten: who is cut off while sending often does not
    see the answer.
    """
    headers = dict(scope["headers"])
    if b"expect" in headers and int(headers.get(b"content-length", b"0")) > LIMIT:
        raise too_large(close=True)  # it asks before it sends
    message: Message = await receive()
    pieces: list[bytes] = []
    length = 0
    while message["type"] != "http.disconnect":
        piece: bytes = message.get("body", b"")
        length += len(piece)
        if length <= LIMIT:
            pieces.append(piece)
        elif length > PATIENCE:
            raise too_large(close=True)
        if not message.get("more_body"):
            if length > LIMIT:
                raise too_large(close=False)
            return piece if length == len(piece) else b"".join(pieces)
        message = await receive()
    return None


def too_large(*, close: bool) -> Problem:
    detail = f"The body is longer than {LIMIT} bytes: send fewer features at a time."
    return Problem(413, "The body is too large", detail, headers={"Connection": "close"} if close else {})


async def tell(send: Send, problem: Problem) -> None:
    payload = msgspec.json.encode(problem.document())
    headers: list[Any] = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(payload)),
        *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})
