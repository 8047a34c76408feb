"""The call that reads MLflow's alias `prod` at once, without waiting for the next poll."""

from fastapi import APIRouter
from sqlalchemy.orm import Session, sessionmaker

from common.problems import ProblemError
from db import appliance
from db.session import notify
from ml.settings import MlSettings


def create_operator_router(settings: MlSettings, sessions: sessionmaker[Session]) -> APIRouter:
    router = APIRouter(tags=["operators"])

    @router.post("/reload-model", status_code=202, summary="Read MLflow's alias `prod` at once")
    def look_at_mlflow() -> dict[str, str]:
        """Make the release live that the alias was moved to, without waiting for the next poll."""
        if not settings.tracking_uri:
            raise ProblemError(
                409, "MLflow is off", "MLFLOW_TRACKING_URI is empty: Slipway follows no alias."
            )
        with sessions.begin() as session:
            notify(session, "tracking")
            trouble = appliance.find_problem(session, "tracking")
        if trouble is not None:
            raise ProblemError(
                503, "MLflow is unavailable", f"{trouble}. Slipway reads the alias as soon as MLflow answers."
            )
        where = " and ".join(f"/models/{model.name}/deployments" for model in settings.list_models())
        return {"detail": f"Slipway reads MLflow's alias now; {where} shows what it promotes."}

    return router
