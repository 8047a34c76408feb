"""The hot path: POST /predict as a raw ASGI route beside FastAPI; a body is forwarded as it came."""

import asyncio
import time
from typing import Any

import msgspec
from loguru import logger
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.problems import Problem
from ml.serving.answers import Label, labelled, signed
from ml.serving.live import Live, Places
from ml.serving.protocol import PredictionJson
from ml.serving.recorder import Recorder
from ml.serving.requests import Held, named, not_json, read
from ml.serving.tally import Calls

JSON = (b"content-type", b"application/json")
check = msgspec.json.Decoder().decode
LEFT = 499  # what is counted for a client that has left
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Gateway:
    """POST /predict and /models/{name}/predict are answered here, everything else by `beside`."""

    def __init__(self, places: Places, recorder: Recorder, beside: ASGIApp) -> None:
        self.places, self.recorder, self.beside = places, recorder, beside
        self.held = Held()
        self.unsent = Held(what="answers wait for their clients to take them")  # of calls with many rows
        self.calls = Calls()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.beside(scope, receive, send)
            return
        path: str = scope["path"]
        if scope["method"] == "POST":
            if path == "/predict":
                await self._answer(None, scope, receive, send)
                return
            if path.startswith("/models/") and path.endswith("/predict") and path.count("/") == 3:
                await self._answer(path[8:-8], scope, receive, send)
                return
        await self._pass_on(scope, receive, send)

    async def _answer(self, model: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), 500
        headers = dict(scope["headers"])
        request = named(headers.get(b"x-request-id"))
        try:
            body = await read(headers, receive, self.held)
            if body is None:
                status = LEFT
                return
            prediction, label = await self.ask(model, body, headers, request)
            status = 200
        except Problem as problem:
            status = problem.status
            await tell(send, problem, request)
            return
        finally:
            self.calls.add(self.places.name(model), "predict", status, began)
        pieces = labelled(prediction, label)
        said = [
            JSON,
            (b"content-length", b"%d" % sum(map(len, pieces))),
            (b"x-slipway-release", label.header),
            (b"x-request-id", request),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": said})
        if len(pieces) > 1:
            await send_all_but_last(send, pieces)
        await send({"type": "http.response.body", "body": pieces[-1]})

    async def ask(
        self, model: str | None, body: bytes, headers: dict[bytes, bytes], request: bytes
    ) -> tuple[PredictionJson, Label]:
        """The prediction and who made it; raises `Problem`."""
        live = self.live(model)
        try:
            try:
                check(body)
            except UNREADABLE as error:
                raise not_json(error, headers, "the features") from error
            size = len(body)
            self.held.add(size)
            try:
                prediction, label = await live.pool.ask(body, request)
            finally:
                self.held.bytes -= size
        except Problem as problem:
            raise noted(signed(problem, live.pool.label), request) from problem
        self.recorder.offer(label, body, prediction)
        return prediction, label

    def live(self, model: str | None) -> Live:
        """What is live of a model, or of the only one when none is named; raises `Problem`."""
        live = self.places.find(model).live
        if live is None:
            raise nothing_live()
        return live

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To `beside`; the answer carries the request's name as well."""
        request = named(next((value for name, value in scope["headers"] if name == b"x-request-id"), None))

        call, model = kind(scope["path"])
        began = time.monotonic()

        async def name(message: Message) -> None:
            if message["type"] == "http.response.start":
                if call is not None:
                    self.calls.add(self.places.name(model), call, message["status"], began)
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", request)]}
            await send(message)

        await self.beside({**scope, "request_id": request}, receive, name)


def kind(path: str) -> tuple[str | None, str | None]:
    """What kind of call an address is, and the model that it names; None where it is none of these."""
    first, *rest = path[1:].split("/")
    if first == "models" and len(rest) == 2:
        return (rest[1], rest[0]) if rest[1] in ("predict", "invocations") else (None, None)
    if first in ("v1", "v2"):
        return first, rest[1].split(":")[0] if len(rest) > 1 and rest[0] == "models" else None
    return (first, None) if path in ("/predict", "/invocations") else (None, None)


def nothing_live() -> Problem:
    detail = "No release of this model has gone live yet; GET / says what is being done about it."
    return Problem(503, "Nothing is live yet", detail, headers={"Retry-After": "5"})


def noted(problem: Problem, request: bytes) -> Problem:
    """What the model did wrong is in the log by the request's name; what it printed is in the release's."""
    if problem.status == 500:
        told = logger.bind(**{name: problem.extra.get(name) for name in ("model", "release")})
        told.bind(request=request.decode()).warning("request {}: {}", request.decode(), problem.detail)
    return problem


async def send_all_but_last(send: Send, pieces: list[bytes]) -> None:
    """Each piece waits until the client has taken enough of those before it, and lets others go."""
    for piece in pieces[:-1]:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)


async def tell(send: Send, problem: Problem, request: bytes) -> None:
    payload = msgspec.json.encode({**problem.document(), "request_id": request.decode()})
    headers: list[Any] = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(payload)),
        (b"x-request-id", request),
        *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})
