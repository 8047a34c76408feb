"""Problems as pages, for requests that accept a page."""

from fastapi import FastAPI, Request
from fastapi.responses import Response

from common import problems
from common.problems import ProblemError
from common.web.negotiation import wants_page
from db.session import DB_ERRORS
from ml.web import db_unavailable
from ml.web.pages.render import render_page


def install(app: FastAPI) -> None:
    """Render every problem of `app`, and an unavailable Postgres."""
    problems.install(app, render_problem)

    def unavailable(request: Request, error: Exception) -> Response:
        return render_problem(request, db_unavailable.to_problem(error))

    for kind in DB_ERRORS:
        app.add_exception_handler(kind, unavailable)


def explain_problem(request: Request, problem: ProblemError) -> ProblemError:
    """Return the problem, reworded for a release number that is not one and for an unknown path."""
    errors = problem.extra.get("errors", ())
    if any(error["at"] == "path.number" for error in errors):
        given = request.path_params.get("number", request.url.path)
        detail = (
            f"There is no release {given!r}: a release is a whole number, and GET /releases has them all."
        )
        return ProblemError(
            problem.status, "A release is a number", detail, headers=problem.headers, errors=errors
        )
    if problem.status == 404 and problem.title == "Not Found":
        detail = f"Nothing is at {request.url.path}. GET /docs lists what is here."
        return ProblemError(404, "There is no such page", detail, headers=problem.headers)
    return problem


def render_problem(request: Request, problem: ProblemError) -> Response:
    problem = explain_problem(request, problem)
    if not wants_page(request):
        return problem.to_response(request)
    response = render_page(
        request, "problem.html", problem.status, title=problem.title, problem=problem.to_document()
    )
    response.headers.update(problem.headers)
    return response
