"""Scores of what is live on the test data of the day, as operators asked for them."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session, sessionmaker

from common.problems import Problem
from db import scores
from ml.api import documents
from ml.api.asked import Asked, Body
from ml.serving.live import Places


def requests(places: Places, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["operators"])
    plain = Body(Asked)

    @router.post(
        "/models/{name}/evaluate",
        status_code=202,
        summary="Score what is live on today's test data",
        openapi_extra=plain.openapi,
    )
    def evaluate(name: str, asked: Annotated[Asked, Depends(plain)]) -> JSONResponse:
        """Nothing is trained and nothing else goes live."""
        model = places.find(name).model.name
        with sessions.begin() as session:
            queued = scores.ask(session, model, asked.who)
            session.refresh(queued)
        location = f"/models/{model}/scores/{queued.id}"
        return JSONResponse(documents.score(queued), 202, headers={"Location": location})

    return router


def history(places: Places, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/models/{name}/scores", summary="How live releases did on the test data of later days")
    def of_model(name: str, limit: int = 20) -> dict[str, Any]:
        """Newest first; those that are `queued` wait for their turn."""
        model = places.find(name).model.name
        with sessions.begin() as session:
            found = scores.history(session, model, max(1, min(limit, 1000)))
            return {"scores": [documents.score(known) for known in found]}

    @router.get("/models/{name}/scores/{number}", summary="One of them")
    def one(name: str, number: int) -> dict[str, Any]:
        model = places.find(name).model.name
        with sessions.begin() as session:
            known = scores.find(session, number) if abs(number) < 2**31 else None
            if known is None or known.model != model:
                detail = f"There is no score {number} of {model}; GET /models/{model}/scores lists them."
                raise Problem(404, "No such score", detail)
            return documents.score(known)

    return router
