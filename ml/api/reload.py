"""Looking at MLflow at once: whoever moved its alias `prod` need not wait for the next look."""

from fastapi import APIRouter
from sqlalchemy.orm import Session, sessionmaker

from common.problems import Problem
from db import appliance
from db.session import notify
from ml.settings import Settings


def requests(settings: Settings, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["operators"])

    @router.post("/reload-model", status_code=202, summary="Look at once where MLflow's alias `prod` is")
    def look_at_mlflow() -> dict[str, str]:
        """Somebody moved it: the release of that version goes live, without waiting for the next look."""
        if not settings.tracking_uri:
            raise Problem(409, "MLflow is off", "MLFLOW_TRACKING_URI is empty: no alias is looked at.")
        with sessions.begin() as session:
            notify(session, "tracking")
            trouble = appliance.trouble(session, "tracking")
        if trouble is not None:
            raise Problem(503, "MLflow is away", f"{trouble}. It is looked at as soon as it answers.")
        where = " and ".join(f"/models/{model.name}/deployments" for model in settings.models())
        return {"detail": f"MLflow is looked at now; what it promotes is in {where}."}

    return router
