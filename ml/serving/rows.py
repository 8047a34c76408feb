"""Many rows in one call: all are answered, and by one release, or none is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import finalize

import msgspec
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from starlette.types import Receive

from common.problems import Problem
from ml.serving.answers import Label, signed, size, whole
from ml.serving.gateway import UNREADABLE, Gateway, check, noted
from ml.serving.live import Live
from ml.serving.pool import Pool
from ml.serving.protocol import PIECE_BYTES, PredictionJson
from ml.serving.requests import Held, not_json, overloaded, read

MOST = 1000  # rows of a call
TRIES = 3  # a switch during a call has it asked once more; more than one is rare
MAX_BYTES = 16 << 20  # of the predictions of one call

Form = TypeVar("Form")


@dataclass(frozen=True)
class Call:
    """What came in."""

    name: bytes
    headers: dict[bytes, bytes]
    body: bytes
    receive: Receive

    async def abandoned(self) -> None:
        """Until the client has left."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


@dataclass(frozen=True)
class Answered:
    """The predictions as JSON, in the order of the rows, and who made them."""

    label: Label
    predictions: list[PredictionJson]


async def call(gateway: Gateway, request: Request) -> Call:
    headers = dict(request.scope["headers"])
    body = await read(headers, request.receive, gateway.held)
    if body is None:
        raise left()
    return Call(request.scope["request_id"], headers, body, request.receive)


def left() -> Problem:
    return Problem(400, "The client has left", "It did not wait for its answer.")


def parsed(asked: Call, form: msgspec.json.Decoder[Form], wanted: str) -> Form:
    """The body in the form of its protocol; raises `Problem` with the place that is wrong."""
    try:
        check(asked.body)
        return form.decode(asked.body)
    except msgspec.ValidationError as error:
        raise Problem(422, "The body is of another form", f"It has to be {wanted}: {error}.") from error
    except UNREADABLE as error:
        raise not_json(error, asked.headers, wanted) from error


async def predict(
    gateway: Gateway, model: str | None, rows: list[bytes], asked: Call, place: Callable[[int], str]
) -> Answered:
    """Raises `Problem` for the first row that has no prediction; `place` says which that is, from 0."""
    if not rows:
        raise Problem(422, "There is no row", "The list of rows is empty: nothing is asked for.")
    if len(rows) > MOST:
        detail = f"{len(rows)} rows in one call, and at most {MOST} are taken: send them in several."
        raise Problem(413, "Too many rows", detail)
    held = sum(map(len, rows))
    gateway.held.add(held)
    try:
        for _ in range(TRIES):
            live = gateway.live(model)
            answered = await while_there(asked, together(live.pool, rows, asked.name, place))
            if answered is not None:
                break
        else:
            raise overloaded("the releases change while it is asked for")
    finally:
        gateway.held.bytes -= held
    hold_answer(answered, gateway.unsent)
    for row, prediction in zip(rows, answered.predictions, strict=True):
        gateway.recorder.offer(answered.label, row, prediction)
    return answered


def hold_answer(answered: Answered, unsent: Held) -> None:
    """Hold what the answer takes for as long as it is kept; raises `Problem` when there is no room for it.

    Large predictions are counted where they come in.
    """
    taken = sum(len(one) for one in answered.predictions if isinstance(one, bytes))
    unsent.add(taken)
    finalize(answered, unsent.give_back, taken)


async def while_there(asked: Call, answering: Coroutine[Any, Any, Answered | None]) -> Answered | None:
    """What `answering` gives; it is cancelled, and a `Problem` raised, when the client leaves before that."""
    answer, abandoned = asyncio.ensure_future(answering), asyncio.ensure_future(asked.abandoned())
    try:
        await asyncio.wait((answer, abandoned), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise left()
        return answer.result()
    finally:
        answer.cancel()
        abandoned.cancel()


async def together(
    pool: Pool, rows: list[bytes], name: bytes, place: Callable[[int], str]
) -> Answered | None:
    """None when the rows were answered by several releases: a switch came between."""
    asked: list[asyncio.Future[tuple[PredictionJson, Label]]] = []
    predictions: list[PredictionJson] = []
    labels, at, total = set(), 0, 0
    try:
        asked = pool.ask_all(rows, name)
        for at, future in enumerate(asked):  # noqa: B007 (which row it was)
            prediction, label = await future
            labels.add(label)
            predictions.append(prediction)
            total += size(prediction)
            if total > MAX_BYTES:
                raise too_much()
    except Problem as problem:
        raise noted(located(signed(problem, pool.label), at, place(at)), name) from problem
    finally:
        for future in asked:
            if not future.cancel() and not future.cancelled():
                future.exception()  # looked at: the first one's is told
    return Answered(labels.pop(), predictions) if len(labels) == 1 else None


def located(problem: Problem, row: int, place: str) -> Problem:
    problem.detail = f"{place}: {problem.detail}"
    problem.extra["row"] = row
    return problem


def too_much() -> Problem:
    detail = f"The predictions so far have more than {MAX_BYTES:,} bytes together: send fewer rows in a call."
    return Problem(413, "The answer is too large", detail)


def respond(
    pieces: list[bytes],
    label: Label,
    of: Sequence[PredictionJson] | Answered,
    headers: dict[str, str] | None = None,
) -> Response:
    """JSON in pieces, each sent when the client has taken those before it; `of` is counted so long."""
    length = str(sum(map(len, pieces)))
    named = {"Content-Length": length, "X-Slipway-Release": label.header.decode(), **(headers or {})}
    if len(pieces) == 1:
        return Response(pieces[0], headers=named, media_type="application/json")

    async def stream(_: Sequence[PredictionJson] | Answered) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
            await asyncio.sleep(0)

    return StreamingResponse(stream(of), headers=named, media_type="application/json")


def predictions(answered: Answered) -> Response:
    """`{"predictions": [...], "model": ..., "release": ..., "commit": ...}`."""
    if all(isinstance(one, bytes) for one in answered.predictions):
        joined = (
            b'{"predictions":[' + b",".join(map(whole, answered.predictions)) + b"]" + answered.label.ending
        )
        pieces = [joined[at : at + PIECE_BYTES] for at in range(0, len(joined), PIECE_BYTES)]
    else:
        pieces = [b'{"predictions":[']
        for prediction in answered.predictions:
            pieces += [prediction] if isinstance(prediction, bytes) else prediction.pieces
            pieces.append(b",")
        pieces[-1] = b"]" + answered.label.ending
    return respond(pieces, answered.label, answered)


def of_version(live: Live, version: str | None) -> Live:
    """What is live, when it is the version that is asked for; versions are the numbers of releases."""
    if version is not None and version != str(live.release.id):
        detail = f"Version {version} is not served: live is release {live.release.id}."
        raise Problem(404, "No such version", detail)
    return live


class Complaining(APIRoute):
    """Problems have a member `error` too: clients of V1 and V2 look for it."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Problem as problem:
                problem.extra["error"] = problem.detail
                raise

        return handle
