"""HTTP errors as RFC 9457 problem documents that state whose fault it was and what to do."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from loguru import logger
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

PROBLEM_SCHEMA = {
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
CLIENT_CLOSED_REQUEST = 499  # nginx's code: counted for a client that has left
PROBLEM_CONTENT: dict[str, Any] = {
    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
}
PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    422: {"description": "The request is not valid", "content": PROBLEM_CONTENT},
    "default": {
        "description": "A problem: whose fault it was and what to do",
        "content": PROBLEM_CONTENT,
    },
}


class ProblemError(Exception):
    """An error response: `title` names it, `detail` states the cause and the remedy."""

    def __init__(
        self, status: int, title: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail = status, title, detail
        self.headers, self.extra = dict(headers or {}), extra

    def to_document(self) -> dict[str, Any]:
        return {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }

    def to_response(self, request: Request) -> JSONResponse:
        name: bytes | None = request.scope.get("request_id")
        named = {"request_id": name.decode()} if name else {}
        return JSONResponse(
            self.to_document() | named,
            self.status,
            headers=self.headers,
            media_type="application/problem+json",
        )


def to_json_response(request: Request, problem: ProblemError) -> Response:
    return problem.to_response(request)


def install(app: FastAPI, render: Callable[[Request, ProblemError], Response] = to_json_response) -> None:
    """Turn every error of `app` into a problem, and have `render` make a response of it.

    A bug of ours is logged and shows a client no details.
    """
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
        return document

    app.openapi = openapi  # type: ignore[method-assign]

    @app.exception_handler(ProblemError)
    def problem(request: Request, error: ProblemError) -> Response:
        return render(request, error)

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return render(request, ProblemError(error.status_code, title, detail, headers=error.headers))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [{"at": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
        detail = "; ".join(f"{e['at']}: {e['message']}" for e in errors)
        return render(request, ProblemError(422, "The request is not valid", detail, errors=errors))

    @app.exception_handler(ClientDisconnect)
    def left(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # nobody receives it

    @app.exception_handler(Exception)
    def bug(request: Request, error: Exception) -> Response:
        name = request.scope.get("request_id", b"").decode()
        logger.opt(exception=error).error("{} {} broke {}", request.method, request.url.path, name)
        detail = "This is a bug of Slipway, not of your request. The service's log has the details."
        return render(request, ProblemError(500, "Slipway made a mistake", detail))
