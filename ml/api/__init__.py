"""What an operator does over HTTP: deploy, roll back, train, evaluate, cancel, follow a log."""

from threading import Event

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from sqlalchemy.orm import Session, sessionmaker

from common.problems import Problem
from db.deployments import Refused
from ml.api import away, deploy, evaluate, logs, reload, train
from ml.api.access import Operators
from ml.serving.live import Places
from ml.settings import Settings


def install(
    app: FastAPI,
    settings: Settings,
    places: Places,
    sessions: sessionmaker[Session],
    *,
    known: Operators,
    ending: Event,
) -> None:
    """Beside the pages, at the same addresses; every POST is for operators alone."""
    shown = HTTPBearer(auto_error=False, description="The operators' token")  # for the OpenAPI document alone
    operators = [Depends(known), Depends(shown)]
    app.include_router(deploy.decisions(places, sessions), dependencies=operators)
    app.include_router(train.requests(places, sessions), dependencies=operators)
    app.include_router(evaluate.requests(places, sessions), dependencies=operators)
    app.include_router(reload.requests(settings, sessions), dependencies=operators)
    app.include_router(deploy.history(places, sessions))
    app.include_router(evaluate.history(places, sessions))
    app.include_router(logs.routes(settings, sessions, ending))
    away.install(app)

    @app.exception_handler(Refused)
    def refused(request: Request, refusal: Refused) -> Response:
        return Problem(409, "This cannot be done now", f"{refusal}.").response(request)
