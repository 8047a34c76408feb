"""Calls with many rows: all are answered, by one release, or none is."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
from fastapi import Request
from starlette.types import Receive

from common.problems import CLIENT_CLOSED_REQUEST, ProblemError
from common.system.threads import run_in_thread
from ml.serving.predict.batch_response import BatchResult, reserve_response
from ml.serving.predict.gateway import DECODE_ERRORS, Gateway, decode_json, log_model_error, name_call
from ml.serving.registry import LiveRelease
from ml.serving.request_body import JSON_STRING, not_json_problem, overloaded_problem, receive_body
from ml.serving.workers.pool import Pool
from ml.serving.workers.responses import Label, PredictionError, count_bytes, with_release
from ml.serving.workers.wire import PredictionJson

MAX_ROWS = 1000  # rows of a call
MAX_TRIES = 3  # a switch during a call repeats it; more than one is rare
MAX_RESPONSE_BYTES = 16 << 20  # of the predictions of one call
MAX_INLINE_BYTES = 64 << 10  # of a body whose rows are created on the event loop

NAN_OR_STRING = re.compile(JSON_STRING.pattern + rb"|NaN", re.DOTALL)  # texts are skipped

Form = TypeVar("Form")
Answer = TypeVar("Answer")


class RowError(Exception):
    """The problem of the first row that has no prediction."""

    def __init__(self, problem: ProblemError, row: int) -> None:
        super().__init__(problem.detail)
        self.problem, self.row = problem, row


@dataclass(frozen=True)
class RequestData:
    """A call as it arrived."""

    request_id: bytes
    headers: dict[bytes, bytes]
    body: bytes
    receive: Receive
    route: str  # its protocol, in the request log


async def read_request(gateway: Gateway, request: Request, route: str) -> RequestData:
    headers = dict(request.scope["headers"])
    body = await receive_body(headers, request.receive, gateway.request_budget)
    if body is None:
        raise client_left_problem()
    return RequestData(request.scope["request_id"], headers, body, request.receive, route)


def client_left_problem() -> ProblemError:
    return ProblemError(CLIENT_CLOSED_REQUEST, "The client has left", "It did not wait for its answer.")


def parse_body(data: RequestData, form: msgspec.json.Decoder[Form], expected: str) -> Form:
    """Return the body in the form of its protocol; raises `ProblemError` with the place that is wrong.

    NaN, which clients of other servers write for a missing number, is null.
    """
    body = NAN_OR_STRING.sub(replace_nan, data.body) if b"NaN" in data.body else data.body
    try:
        decode_json(body)
        return form.decode(body)
    except msgspec.ValidationError as error:
        raise ProblemError(
            422, "The body is of another form", f"It has to be {expected}: {error}."
        ) from error
    except DECODE_ERRORS as error:
        raise not_json_problem(error, data.headers, data.body, expected) from error


def replace_nan(found: re.Match[bytes]) -> bytes:
    return b"null" if found[0] == b"NaN" else found[0]


async def predict_rows(
    gateway: Gateway,
    model: str | None,
    make_rows: Callable[[LiveRelease], list[bytes]],
    data: RequestData,
    name_row: Callable[[int], str],
) -> BatchResult:
    """Predict all rows of a call by one release.

    `make_rows` returns the rows for the live release, or raises: that release answers them, or they are
    made again for the next. Raises `ProblemError` for the first row that has no prediction; `name_row` names
    it by its number, from 0.
    """
    for _ in range(MAX_TRIES):
        live = gateway.get_live(model)
        rows = make_rows(live) if len(data.body) <= MAX_INLINE_BYTES else await run_in_thread(make_rows, live)
        if gateway.get_live(model) is not live:
            continue  # a switch while they were made
        check_row_count(rows)
        call = gateway.request_log.begin(live.pool.label.model, live.record, data.route, data.request_id)
        try:
            with gateway.request_budget.reserve(sum(map(len, rows))):
                answered = await run_while_connected(
                    data.receive, predict_all(live.pool, rows, data.request_id, name_row)
                )
        except RowError as error:
            gateway.request_log.add_error(call, live.pool.label, error.row, rows[error.row], error.problem)
            raise log_model_error(name_call(error.problem, call), live, data.request_id) from error
        if answered is not None and answered.label == live.pool.label:
            break
    else:
        raise overloaded_problem("the live release keeps changing")
    answered = replace(answered, call=call)
    reserve_response(answered, gateway.response_budget)
    gateway.request_log.add(call, answered.label, rows, answered.predictions)
    return answered


def check_row_count(rows: Sequence[object]) -> None:
    if not rows:
        raise ProblemError(422, "There is no row", "The list of rows is empty: send at least one.")
    if len(rows) > MAX_ROWS:
        detail = f"{len(rows)} rows in one call, and at most {MAX_ROWS} are taken: send them in several."
        raise ProblemError(413, "Too many rows", detail)


async def run_while_connected(receive: Receive, answering: Coroutine[Any, Any, Answer]) -> Answer:
    """Return the result of `answering`, which is cancelled when the client leaves before its end.

    Raises `ProblemError` when the client leaves.
    """
    answer, abandoned = asyncio.ensure_future(answering), asyncio.ensure_future(wait_for_end(receive))
    try:
        await asyncio.wait((answer, abandoned), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise client_left_problem()
        return answer.result()
    finally:
        answer.cancel()
        abandoned.cancel()


async def wait_for_end(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def predict_all(
    pool: Pool, rows: list[bytes], request_id: bytes, name_row: Callable[[int], str]
) -> BatchResult | None:
    """Predict all rows; None when several releases answered, or another refused: a switch came between.

    Raises `RowError` for the first row that has no prediction.
    """
    futures: list[asyncio.Future[tuple[PredictionJson, Label]]] = []
    predictions: list[PredictionJson] = []
    labels, at, total = set(), 0, 0
    try:
        futures = pool.submit_all(rows, request_id)
        for at, future in enumerate(futures):  # noqa: B007 (which row it was)
            prediction, label = await future
            labels.add(label)
            predictions.append(prediction)
            total += count_bytes(prediction)
            if total > MAX_RESPONSE_BYTES:
                raise response_too_large_problem()
    except ProblemError as problem:
        if isinstance(problem, PredictionError) and problem.extra["release"] != pool.label.release:
            return None
        raise RowError(at_row(with_release(problem, pool.label), at, name_row(at)), at) from problem
    finally:
        for future in futures:
            if not future.cancel() and not future.cancelled():
                future.exception()  # retrieved: only the first one is reported
    return BatchResult(labels.pop(), predictions) if len(labels) == 1 else None


def at_row(problem: ProblemError, row: int, row_name: str) -> ProblemError:
    problem.detail = f"{row_name}: {problem.detail}"
    problem.extra["row"] = row
    return problem


def response_too_large_problem() -> ProblemError:
    detail = (
        f"The predictions so far have more than {MAX_RESPONSE_BYTES:,} "
        "bytes together: send fewer rows in a call."
    )
    return ProblemError(413, "The answer is too large", detail)
