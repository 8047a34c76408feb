"""Calls by which an operator decides which release is live: deploy, roll back, and the history."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session, sessionmaker

from db import deployment_history, deployments
from db.models import Deployment
from db.states import Cause
from ml.serving.registry import ModelRegistry
from ml.web import serializers
from ml.web.operator_request import OperatorRequest, RequestBody


class RollbackRequest(OperatorRequest):
    """A request to roll back; with `release`, only while that one is live, so that two roll back once."""

    release: int | None = None


def create_operator_router(registry: ModelRegistry, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["operators"])
    deploying, rolling_back = RequestBody(OperatorRequest), RequestBody(RollbackRequest)

    @router.post(
        "/releases/{number}/deploy",
        status_code=202,
        summary="Make a release live that was built before",
        openapi_extra=deploying.openapi,
    )
    def deploy(number: int, asked: Annotated[OperatorRequest, Depends(deploying)]) -> JSONResponse:
        """Switch to the release once it has started and answered; until then nothing changes."""
        with sessions.begin() as session:
            release = serializers.find_release(session, number)
            if release.model not in registry.by_model:
                raise deployments.RefusedError(
                    f"{release.model} is not served any more: add it to models.toml"
                )
            made = deployments.deploy(session, release, who=asked.who, why=asked.why)
            session.refresh(made)
        return to_accepted_response(made)

    @router.post(
        "/models/{name}/rollback",
        status_code=202,
        summary="Go back to the release that was live before",
        openapi_extra=rolling_back.openapi,
    )
    def rollback(name: str, asked: Annotated[RollbackRequest, Depends(rolling_back)]) -> JSONResponse:
        """Quarantine what is left; releases that are being built stop at `passed`."""
        model = registry.find(name).model.name
        with sessions.begin() as session:
            if asked.release is not None:
                require_live(session, model, asked.release)
            made = deployments.roll_back(session, model, cause=Cause.ROLLBACK, who=asked.who, why=asked.why)
            session.refresh(made)
        return to_accepted_response(made)

    return router


def require_live(session: Session, model: str, release: int) -> None:
    """Lock the model's decisions until the transaction ends; raises `RefusedError` when it has changed."""
    deployments.lock_model(session, model)
    live = deployments.find_live(session, model)
    if live is None or live.release_id != release:
        now = f"release {live.release_id} is" if live else "nothing is"
        raise deployments.RefusedError(
            f"release {release} is not live any more, {now}: nothing was rolled back"
        )


def to_accepted_response(deployment: Deployment) -> JSONResponse:
    """Return the accepted decision; `Location` is the release that shows its progress."""
    location = f"/releases/{deployment.release_id}"
    return JSONResponse(serializers.serialize_deployment(deployment), 202, headers={"Location": location})


def create_history_router(registry: ModelRegistry, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/models/{name}/deployments", summary="Deployments of a model, newest first")
    def of_model(name: str, limit: int = 50) -> dict[str, Any]:
        """List who decided to make which release live, why, and the outcome."""
        with sessions.begin() as session:
            found = deployment_history.list_deployments(session, name, limit=max(1, min(limit, 1000)))
            if not found:
                registry.find(name)  # raises: a model that is no longer served keeps its records
            return {"deployments": [serializers.serialize_deployment(one) for one in found]}

    return router
