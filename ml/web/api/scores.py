"""Calls that score the live release on the day's test data, and list the scores."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session, sessionmaker

from common.problems import ProblemError
from db import scores
from ml.serving.registry import ModelRegistry
from ml.web import serializers
from ml.web.operator_request import OperatorRequest, RequestBody


def create_operator_router(registry: ModelRegistry, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["operators"])
    plain = RequestBody(OperatorRequest)

    @router.post(
        "/models/{name}/evaluate",
        status_code=202,
        summary="Score what is live on today's test data",
        openapi_extra=plain.openapi,
    )
    def evaluate(name: str, asked: Annotated[OperatorRequest, Depends(plain)]) -> JSONResponse:
        """Evaluate the live release; nothing is trained and nothing else goes live."""
        model = registry.find(name).model.name
        with sessions.begin() as session:
            queued = scores.request_score(session, model, asked.who)
            session.refresh(queued)
        location = f"/models/{model}/scores/{queued.id}"
        return JSONResponse(serializers.serialize_score(queued), 202, headers={"Location": location})

    return router


def create_history_router(registry: ModelRegistry, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/models/{name}/scores", summary="Scores of live releases on later test data")
    def of_model(name: str, limit: int = 20) -> dict[str, Any]:
        """List scores, newest first; those that are `queued` wait for their turn."""
        model = registry.find(name).model.name
        with sessions.begin() as session:
            found = scores.list_scores(session, model, max(1, min(limit, 1000)))
            return {"scores": [serializers.serialize_score(score) for score in found]}

    @router.get("/models/{name}/scores/{number}", summary="One of them")
    def one(name: str, number: int) -> dict[str, Any]:
        model = registry.find(name).model.name
        with sessions.begin() as session:
            score = scores.find(session, number) if abs(number) < 2**31 else None
            if score is None or score.model != model:
                detail = f"There is no score {number} of {model}; GET /models/{model}/scores lists them."
                raise ProblemError(404, "No such score", detail)
            return serializers.serialize_score(score)

    return router
