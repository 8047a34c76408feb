"""The aliases of a registered model: `prod` is live, `previous` was live before."""

from loguru import logger
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.orm import Session, sessionmaker

from db import deployment_history, mlflow_state
from db.mlflow_state import AliasVersions
from db.states import Cause, DeploymentState
from ml.mlflow_sync.promotions import PREVIOUS_ALIAS, PROD_ALIAS
from ml.mlflow_sync.rest import DOES_NOT_EXIST, NO_ALIAS

ABSENT_CODES = (DOES_NOT_EXIST, NO_ALIAS)


class AliasExporter:
    """The export of aliases to MLflow."""

    def __init__(self, client: MlflowClient, sessions: sessionmaker[Session]) -> None:
        self.client, self.sessions = client, sessions

    def sync_aliases(self, model: str) -> None:
        """Set `prod` to the live version and `previous` to the one before; recorded before it is sent.

        `prod` is not sent again when the record shows it in place: it may have been moved meanwhile.
        """
        with self.sessions.begin() as session:
            desired = mlflow_state.find_desired_aliases(session, model)
            recorded = mlflow_state.find_alias(session, model)
            if desired is None:
                return
            is_recorded = recorded is not None and recorded.version == desired.prod
            is_in_place = recorded is not None and is_recorded and recorded.sent
            refused = (
                recorded.refused if recorded and is_recorded else explain_failed_promotion(session, model)
            )
            if not is_in_place:
                mlflow_state.save_aliases(session, model, desired, sent=False, refused=refused)
        prod = desired.prod if is_in_place else self.set_alias(model, PROD_ALIAS, desired.prod)
        previous = self.set_alias(model, PREVIOUS_ALIAS, desired.previous)
        with self.sessions.begin() as session:
            mlflow_state.save_aliases(
                session, model, AliasVersions(prod, previous), sent=True, refused=refused
            )
        logger.info("MLflow's alias {} of {} is at version {}", PROD_ALIAS, model, prod or "none")

    def set_alias(self, model: str, name: str, version: int | None) -> int | None:
        """Set an alias to a version, or remove it; return its version. None: it was deleted in MLflow."""
        try:
            if version is not None:
                self.client.set_registered_model_alias(model, name, str(version))
            else:
                self.client.delete_registered_model_alias(model, name)
        except MlflowException as error:
            if error.error_code not in ABSENT_CODES or (version and error.error_code != DOES_NOT_EXIST):
                raise
            if version is not None:
                logger.warning("version {} of {} was deleted in MLflow", version, model)
                with self.sessions.begin() as session:
                    mlflow_state.clear_version(session, model, version)
            return None
        return version


def explain_failed_promotion(session: Session, model: str) -> str | None:
    """Return why the newest decision, a promotion, failed; None when it is no failed promotion."""
    newest = deployment_history.list_deployments(session, model, limit=1)
    if not newest or newest[0].cause is not Cause.PROMOTION or newest[0].state is not DeploymentState.FAILED:
        return None
    return f"release {newest[0].release_id} failed to start: {newest[0].reason}"
