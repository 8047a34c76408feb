"""Postgres is away: what that looks like, and what a client is told."""

from fastapi import FastAPI, Request
from fastapi.responses import Response

from common.problems import Problem
from db.session import AWAY


def install(app: FastAPI) -> None:
    def away(request: Request, error: Exception) -> Response:
        said = str(getattr(error, "orig", error)).strip().partition("\n")[0]
        detail = f"Postgres is away: {said}. What is live goes on answering predictions; try again soon."
        return Problem(503, "Postgres is away", detail, headers={"Retry-After": "5"}).response(request)

    for kind in AWAY:
        app.add_exception_handler(kind, away)
