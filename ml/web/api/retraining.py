"""Calls by which an operator pauses a model's retraining, resumes it, or starts what is suggested."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common.problems import ProblemError
from db import retraining_plans, retrainings
from ml.serving.registry import ModelRegistry
from ml.web.operator_request import OperatorRequest, RequestBody
from ml.web.serializers import Document, serialize_pause, serialize_retraining

MAX_NUMBER = 2**31 - 1


def create_operator_router(registry: ModelRegistry, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["operators"])
    plain = RequestBody(OperatorRequest)
    body = plain.openapi

    @router.post(
        "/models/{name}/pause", status_code=202, summary="Begin no retraining any more", openapi_extra=body
    )
    def pause(name: str, asked: Annotated[OperatorRequest, Depends(plain)]) -> JSONResponse:
        """Pause schedule, new data and suggestions that start automatically; `train` works as before."""
        model = registry.find(name).model.name
        with sessions.begin() as session:
            plan = retraining_plans.pause(session, model, who=asked.who, why=asked.why)
            return to_accepted_response({"model": model, "paused": serialize_pause(plan)}, model)

    @router.post(
        "/models/{name}/resume", status_code=202, summary="Retrain again from now on", openapi_extra=body
    )
    def resume(name: str, asked: Annotated[OperatorRequest, Depends(plain)]) -> JSONResponse:
        """Resume: what a schedule missed in the pause is not made up for, data that changed in it is."""
        model = registry.find(name).model.name
        with sessions.begin() as session:
            plan = retraining_plans.resume(session, model)
            logger.info("retraining of {} was resumed by {}", model, asked.who)
            return to_accepted_response({"model": model, "paused": serialize_pause(plan)}, model)

    @router.post(
        "/models/{name}/retraining/{number}/start",
        status_code=202,
        summary="Start a retraining that is suggested",
        openapi_extra=body,
    )
    def start(name: str, number: int, asked: Annotated[OperatorRequest, Depends(plain)]) -> JSONResponse:
        """Train the live commit again; a 409 when another release is live than it was suggested for."""
        model = registry.find(name).model.name
        with sessions.begin() as session:
            found = retrainings.find(session, number) if 0 < number <= MAX_NUMBER else None
            if found is None or found.model != model:
                detail = f"{model} has no retraining {number}: GET /models/{model}/retraining lists them."
                raise ProblemError(404, "No such retraining", detail)
            started = retrainings.accept(session, model, number, asked.who)
            return to_accepted_response(serialize_retraining(started, None), model)

    return router


def to_accepted_response(document: Document, model: str) -> JSONResponse:
    return JSONResponse(document, 202, headers={"Location": f"/models/{model}/retraining"})
