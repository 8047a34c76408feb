"""Problems as pages, for whoever asked for a page."""

from fastapi import FastAPI, Request
from fastapi.responses import Response
from sqlalchemy.exc import DBAPIError, OperationalError

from common import problems
from common.problems import Problem
from db.session import describe
from ml.pages.render import page, wants_page


def install(app: FastAPI) -> None:
    """Every problem of `app`, and that Postgres is away."""
    problems.install(app, shown)

    @app.exception_handler(OperationalError)
    def away(request: Request, error: OperationalError) -> Response:
        detail = f"What is live is served all the same. Postgres did not answer: {first_line(error)}."
        return shown(request, Problem(503, "Postgres is away", detail, headers={"Retry-After": "5"}))


def first_line(error: DBAPIError) -> str:
    """What the driver said, without what it adds for those who run Postgres."""
    return (describe(error).splitlines() or ["no answer"])[0]


def in_words(request: Request, problem: Problem) -> Problem:
    """The same, plainly where a release is asked for by what is no number."""
    errors = problem.extra.get("errors", ())
    if not any(error["at"] == "path.number" for error in errors):
        return problem
    given = request.path_params.get("number", request.url.path)
    detail = f"There is no release {given!r}: a release is a whole number, and /releases has them all."
    return Problem(problem.status, "A release is a number", detail, headers=problem.headers, errors=errors)


def shown(request: Request, problem: Problem) -> Response:
    problem = in_words(request, problem)
    if not wants_page(request):
        return problem.response(request)
    response = page(request, "problem.html", problem.status, title=problem.title, problem=problem.document())
    response.headers.update(problem.headers)
    return response
