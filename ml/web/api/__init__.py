"""The operators' calls over HTTP: deploy, roll back, train, evaluate, cancel, follow a log."""

from threading import Event

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from sqlalchemy.orm import Session, sessionmaker

from common.problems import ProblemError
from db.deployments import RefusedError
from ml.serving.registry import ModelRegistry
from ml.serving.request_log.log import RequestLog
from ml.settings import MlSettings
from ml.web.api import (
    builds,
    deployments,
    ground_truth,
    logs,
    pull_requests,
    reload_mlflow,
    requests,
    retraining,
    scores,
)
from ml.web.api.requests import RequestEraser
from ml.web.auth import OperatorAuth


def install(
    app: FastAPI,
    settings: MlSettings,
    registry: ModelRegistry,
    sessions: sessionmaker[Session],
    *,
    operator_auth: OperatorAuth,
    ending: Event,
    request_log: RequestLog,
    eraser: RequestEraser,
) -> None:
    """Add the API to `app`, at the same paths as the pages; every POST is for operators alone."""
    documented = HTTPBearer(auto_error=False, description="The operators' token")  # only for OpenAPI
    operators = [Depends(operator_auth), Depends(documented)]
    app.include_router(deployments.create_operator_router(registry, sessions), dependencies=operators)
    app.include_router(builds.create_operator_router(registry, sessions), dependencies=operators)
    app.include_router(scores.create_operator_router(registry, sessions), dependencies=operators)
    app.include_router(pull_requests.create_operator_router(registry, sessions), dependencies=operators)
    app.include_router(requests.create_operator_router(registry, eraser), dependencies=operators)
    app.include_router(
        ground_truth.create_operator_router(registry, sessions, request_log), dependencies=operators
    )
    app.include_router(retraining.create_operator_router(registry, sessions), dependencies=operators)
    app.include_router(reload_mlflow.create_operator_router(settings, sessions), dependencies=operators)
    app.include_router(deployments.create_history_router(registry, sessions))
    app.include_router(scores.create_history_router(registry, sessions))
    app.include_router(logs.create_router(settings, sessions, ending))

    @app.exception_handler(RefusedError)
    def refused(request: Request, refusal: RefusedError) -> Response:
        return ProblemError(409, "This cannot be done now", f"{refusal}.").to_response(request)
