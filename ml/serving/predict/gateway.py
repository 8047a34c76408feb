"""The hot path: POST /predict as a raw ASGI route in front of FastAPI; a body is forwarded as it arrived."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, NamedTuple

import msgspec
from loguru import logger
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.problems import CLIENT_CLOSED_REQUEST, ProblemError
from common.web.server import ON_DISCONNECT_KEY
from ml.serving.counters import RequestStats
from ml.serving.predict import misdirected
from ml.serving.registry import LiveRelease, ModelRegistry
from ml.serving.request_body import ByteBudget, choose_request_id, not_json_problem, receive_body
from ml.serving.request_log.log import Call, RequestLog
from ml.serving.workers.responses import Label, build_success_body, with_release
from ml.serving.workers.wire import PredictionJson

READ_METHODS = ("GET", "HEAD")  # the form, and a prediction by URL: answered by FastAPI
JSON_CONTENT_TYPE = (b"content-type", b"application/json")
decode_json = msgspec.json.Decoder().decode
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Answered(NamedTuple):
    """A prediction, its release, and its call in the request log; None where that is off."""

    prediction: PredictionJson
    label: Label
    call: Call | None


class Gateway:
    """The ASGI app that answers POST /predict and /models/{name}/predict; `app` answers everything else."""

    def __init__(self, registry: ModelRegistry, request_log: RequestLog, app: ASGIApp) -> None:
        self.registry, self.request_log, self.app = registry, request_log, app
        self.request_budget = ByteBudget()
        # of calls with many rows
        self.response_budget = ByteBudget(reason="answers wait for their clients to take them")
        self.stats = RequestStats()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Return an awaitable; a coroutine of our own around it would slow down predictions."""
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        path: str = scope["path"]
        if scope["method"] not in READ_METHODS:
            if path == "/predict":
                return self._serve_prediction(None, scope, receive, send)
            if path.startswith("/models/") and path.endswith("/predict") and path.count("/") == 3:
                return self._serve_prediction(path[8:-8], scope, receive, send)
        return self._forward_to_app(scope, receive, send)

    async def _serve_prediction(self, model: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), 500
        headers = dict(scope["headers"])
        request = choose_request_id(headers.get(b"x-request-id"))
        try:
            if scope["method"] != "POST":
                raise method_not_allowed_problem(scope)
            body = await receive_body(headers, receive, self.request_budget)
            if body is None:
                status = CLIENT_CLOSED_REQUEST
                return
            prediction, label, call = await self.predict(model, body, headers, request, scope)
            status = 200
        except asyncio.CancelledError:
            if is_task_cancelled():
                raise
            status = CLIENT_CLOSED_REQUEST
            return
        except ProblemError as problem:
            status = problem.status
            await send_problem(send, problem, request)
            return
        finally:
            self.stats.add(self.registry.get_stats_name(model), "predict", status, began)
            if status == 503:
                self._note_early(model)
        pieces = build_success_body(prediction, label)
        response_headers = [
            JSON_CONTENT_TYPE,
            (b"content-length", b"%d" % sum(map(len, pieces))),
            (b"x-slipway-release", label.header),
            (b"x-request-id", request),
        ]
        if call is not None:
            response_headers.append((b"x-slipway-prediction", call.id.text))
        await send({"type": "http.response.start", "status": 200, "headers": response_headers})
        if len(pieces) > 1:
            await send_all_but_last(send, pieces)
        await send({"type": "http.response.body", "body": pieces[-1]})

    async def predict(
        self,
        model: str | None,
        body: bytes,
        headers: dict[bytes, bytes],
        request_id: bytes,
        scope: Scope | None = None,
        *,
        route: str = "predict",
    ) -> Answered:
        """Return the prediction, its release and its call; raises `ProblemError`.

        It is cancelled when the client of `scope` leaves.
        """
        scope = {} if scope is None else scope
        live = self.get_live(model)
        call = None
        try:
            try:
                given = decode_json(body)
            except DECODE_ERRORS as error:
                raise not_json_problem(error, headers, body, "the features") from error
            call = self.request_log.begin(live.pool.label.model, live.record, route, request_id)
            with self.request_budget.reserve(len(body)):
                answer = live.pool.submit(body, request_id)
                scope[ON_DISCONNECT_KEY] = answer.cancel
                try:
                    prediction, label = await answer
                finally:
                    scope[ON_DISCONNECT_KEY] = None
        except ProblemError as problem:
            if problem.status == 422 and (cure := misdirected.suggest_endpoint(given)):
                problem.detail = f"{problem.detail}. {cure}"
            self.request_log.add_error(call, live.pool.label, 0, body, problem)
            raise log_model_error(
                name_call(with_release(problem, live.pool.label), call), live, request_id
            ) from problem
        self.request_log.add(call, label, (body,), (prediction,))
        return Answered(prediction, label, call)

    def get_live(self, model: str | None) -> LiveRelease:
        """Return the live release of a model, of the only one if none is named; raises `ProblemError`."""
        live = self.registry.find(model).live
        if live is None:
            raise nothing_live_problem()
        return live

    def _note_early(self, model: str | None) -> None:
        """Count a request refused before the model's first live release: it is not a failure."""
        name = self.registry.get_stats_name(model)
        if self.registry.is_early(name):
            self.stats.early[name] = self.stats.early.get(name, 0) + 1

    async def _forward_to_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward to `app`; the response gets the request's id as well."""
        request = choose_request_id(
            next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        )

        is_call = scope["method"] == "POST" or scope["query_string"]  # else a page request for the form
        call, model = parse_call(scope["path"]) if is_call else (None, None)
        began = time.monotonic()

        async def name(message: Message) -> None:
            if message["type"] == "http.response.start":
                if call is not None:
                    self.stats.add(self.registry.get_stats_name(model), call, message["status"], began)
                    if message["status"] == 503:
                        self._note_early(model)
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", request)]}
            await send(message)

        await self.app({**scope, "request_id": request}, receive, name)


def is_task_cancelled() -> bool:
    """Return True when this task is being cancelled, and not only the future that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def parse_call(path: str) -> tuple[str | None, str | None]:
    """Return the kind of call of a path, and the model that it names; None where it is none of these."""
    first, *rest = path[1:].split("/")
    if first == "models" and len(rest) == 2:
        return (rest[1], rest[0]) if rest[1] in ("predict", "invocations") else (None, None)
    if first in ("v1", "v2"):
        if not path.endswith((":predict", "/infer")):  # metadata and readiness
            return None, None
        return first, rest[1].split(":")[0] if len(rest) > 1 and rest[0] == "models" else None
    return (first, None) if path in ("/predict", "/invocations") else (None, None)


def nothing_live_problem() -> ProblemError:
    detail = "No release of this model has gone live yet; GET / shows the progress."
    return ProblemError(503, "Nothing is live yet", detail, headers={"Retry-After": "5"})


def name_call(problem: ProblemError, call: Call | None) -> ProblemError:
    """Return the problem with the id of its call, where that has one."""
    if call is not None:
        problem.headers["X-Slipway-Prediction"] = call.id.text.decode()
    return problem


def log_model_error(problem: ProblemError, live: LiveRelease, request_id: bytes) -> ProblemError:
    """Log the model's error with the request's id, and return it; its output is in the release's own log.

    Its text may repeat features: where some of them are hidden, the log has the kind of error alone.
    """
    if problem.status == 500:
        text = problem.extra.get("error", problem.title) if live.record.hidden_fields else problem.detail
        bound = logger.bind(**{name: problem.extra.get(name) for name in ("model", "release")})
        bound.bind(request=request_id.decode()).warning("request {}: {}", request_id.decode(), text)
    return problem


async def send_all_but_last(send: Send, pieces: list[bytes]) -> None:
    """Send each piece once the client has taken enough of those before it, and yield to other tasks."""
    for piece in pieces[:-1]:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)


async def send_problem(send: Send, problem: ProblemError, request_id: bytes) -> None:
    payload = msgspec.json.encode({**problem.to_document(), "request_id": request_id.decode()})
    headers: list[Any] = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(payload)),
        (b"x-request-id", request_id),
        *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


def method_not_allowed_problem(scope: Scope) -> ProblemError:
    detail = f"{scope['method']} {scope['path']}: features are sent by POST, or by GET in the address."
    return ProblemError(405, "Method Not Allowed", detail, headers={"Allow": "GET, HEAD, POST"})
