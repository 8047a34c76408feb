"""Problems as pages, for whoever asked for a page."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import Response
from sqlalchemy.exc import DBAPIError, OperationalError
from starlette.exceptions import HTTPException

from common.problems import Problem
from ml.pages.render import page, wants_page


def install(app: FastAPI) -> None:
    """Over the handlers of `common.problems`, which go on answering programs."""

    @app.exception_handler(Problem)
    def problem(request: Request, error: Problem) -> Response:
        return shown(request, error)

    @app.exception_handler(OperationalError)
    def away(request: Request, error: OperationalError) -> Response:
        detail = f"What is live is served all the same. Postgres did not answer: {first_line(error)}."
        return shown(request, Problem(503, "Postgres is away", detail, headers={"Retry-After": "5"}))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return shown(request, Problem(error.status_code, title, detail, headers=error.headers))


def first_line(error: DBAPIError) -> str:
    """What the driver said, without what it adds for those who run Postgres."""
    return (str(error.orig).strip().splitlines() or ["no answer"])[0]


def shown(request: Request, problem: Problem) -> Response:
    if not wants_page(request):
        return problem.response(request)
    response = page(request, "problem.html", problem.status, title=problem.title, problem=problem.document())
    response.headers.update(problem.headers)
    return response
