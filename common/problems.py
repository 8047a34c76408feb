"""Errors over HTTP are RFC 9457 problem documents that say whose fault it was and what to do."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from loguru import logger
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

_DOCUMENT = {
    "title": "Problem (RFC 9457)",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
CLIENT_CLOSED_REQUEST = 499  # as nginx has it
CONTENT: dict[str, Any] = {"application/problem+json": {"schema": _DOCUMENT}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    422: {"description": "The request is not valid", "content": CONTENT},
    "default": {"description": "A problem that says whose fault it was and what to do", "content": CONTENT},
}


class Problem(Exception):
    """An answer that is not the one asked for: `title` names it, `detail` says the cause and the cure."""

    def __init__(
        self, status: int, title: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail = status, title, detail
        self.headers, self.extra = dict(headers or {}), extra

    def document(self) -> dict[str, Any]:
        return {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }

    def response(self, request: Request) -> JSONResponse:
        name: bytes | None = request.scope.get("request_id")
        named = {"request_id": name.decode()} if name else {}
        return JSONResponse(
            self.document() | named, self.status, headers=self.headers, media_type="application/problem+json"
        )


def plainly(request: Request, problem: Problem) -> Response:
    return problem.response(request)


def install(app: FastAPI, show: Callable[[Request, Problem], Response] = plainly) -> None:
    """Every error of `app` becomes a problem, and `show` makes an answer of it.

    A bug of ours is logged and tells a client nothing.
    """

    @app.exception_handler(Problem)
    def problem(request: Request, error: Problem) -> Response:
        return show(request, error)

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return show(request, Problem(error.status_code, title, detail, headers=error.headers))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [{"at": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
        detail = "; ".join(f"{e['at']}: {e['message']}" for e in errors)
        return show(request, Problem(422, "The request is not valid", detail, errors=errors))

    @app.exception_handler(ClientDisconnect)
    def left(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # nobody gets it

    @app.exception_handler(Exception)
    def bug(request: Request, error: Exception) -> Response:
        name = request.scope.get("request_id", b"").decode()
        logger.opt(exception=error).error("{} {} broke {}", request.method, request.url.path, name)
        detail = "This is a bug of Slipway, not of your request. The service's log has the details."
        return show(request, Problem(500, "Slipway made a mistake", detail))
