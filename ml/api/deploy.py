"""Which release is live, decided by an operator: deploy, roll back, and what was decided before."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session, sessionmaker

from db import deployments
from db.models import Cause, Deployment
from ml.api import documents
from ml.api.asked import Asked, Body
from ml.serving.live import Places


class RollBack(Asked):
    """With `release`, only while that one is live: so that two who see the same fault roll back once."""

    release: int | None = None


def decisions(places: Places, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["operators"])
    deploying, rolling_back = Body(Asked), Body(RollBack)

    @router.post(
        "/releases/{number}/deploy",
        status_code=202,
        summary="Make a release live that was built before",
        openapi_extra=deploying.openapi,
    )
    def deploy(number: int, asked: Annotated[Asked, Depends(deploying)]) -> JSONResponse:
        """Users get it once it has started and answered; until then, and if it cannot, all stays as it is."""
        with sessions.begin() as session:
            release = documents.find(session, number)
            if release.model not in places.by_model:
                raise deployments.Refused(f"{release.model} is not served any more: add it to models.toml")
            made = deployments.deploy(session, release, who=asked.who, why=asked.why)
            session.refresh(made)
        return accepted(made)

    @router.post(
        "/models/{name}/rollback",
        status_code=202,
        summary="Go back to the release that was live before",
        openapi_extra=rolling_back.openapi,
    )
    def rollback(name: str, asked: Annotated[RollBack, Depends(rolling_back)]) -> JSONResponse:
        """The commit that is left goes into quarantine; what is on its way stops at `passed`."""
        model = places.find(name).model.name
        with sessions.begin() as session:
            if asked.release is not None:
                still_live(session, model, asked.release)
            made = deployments.roll_back(session, model, cause=Cause.ROLLBACK, who=asked.who, why=asked.why)
            session.refresh(made)
        return accepted(made)

    return router


def still_live(session: Session, model: str, release: int) -> None:
    """Hold the model's decisions until the transaction ends; raises `Refused` when it has changed."""
    deployments.lock(session, model)
    live = deployments.live(session, model)
    if live is None or live.release_id != release:
        now = f"release {live.release_id} is" if live else "nothing is"
        raise deployments.Refused(f"release {release} is not live any more, {now}: nothing was rolled back")


def accepted(made: Deployment) -> JSONResponse:
    """Decided; `Location` says where to see what became of it."""
    location = f"/releases/{made.release_id}"
    return JSONResponse(documents.deployment(made), 202, headers={"Location": location})


def history(places: Places, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/models/{name}/deployments", summary="What was decided for a model, newest first")
    def of_model(name: str, limit: int = 50) -> dict[str, Any]:
        """Who made which release live, why, and whether it got there."""
        with sessions.begin() as session:
            found = deployments.history(session, name, limit=max(1, min(limit, 1000)))
            if not found:
                places.find(name)  # raises: a model that is served no more keeps its records
            return {"deployments": [documents.deployment(known) for known in found]}

    return router
