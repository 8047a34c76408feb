"""What an operator does over HTTP: deploy, roll back, train, evaluate, cancel, follow a log."""

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from common.problems import Problem
from db.deployments import Refused
from ml.api import deploy, evaluate, logs, train
from ml.api.access import Operators
from ml.serving.live import Places
from ml.settings import Settings


def install(app: FastAPI, settings: Settings, places: Places, sessions: sessionmaker[Session]) -> None:
    """Beside the pages, at the same addresses; every POST is for operators alone."""
    operators = [Depends(Operators.of(settings))]
    app.include_router(deploy.decisions(places, sessions), dependencies=operators)
    app.include_router(train.requests(places, sessions), dependencies=operators)
    app.include_router(evaluate.requests(places, sessions), dependencies=operators)
    app.include_router(deploy.history(places, sessions))
    app.include_router(evaluate.history(places, sessions))
    app.include_router(logs.routes(settings, sessions))

    @app.exception_handler(Refused)
    def refused(_: Request, refusal: Refused) -> Response:
        return Problem(409, "This cannot be done now", f"{refusal}.").response()

    @app.exception_handler(OperationalError)
    def away(_: Request, error: OperationalError) -> Response:
        said = str(error.orig).strip().partition("\n")[0]
        detail = f"Postgres is away: {said}. What is live goes on answering predictions; try again soon."
        return Problem(503, "Postgres is away", detail, headers={"Retry-After": "5"}).response()
