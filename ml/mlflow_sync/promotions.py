"""Promotions: a person moved MLflow's alias `prod`, so that version's release is to go live."""

from datetime import datetime

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import deployments, mlflow_state
from db.mlflow_models import MlflowAlias
from db.mlflow_state import AliasVersions
from db.states import Cause
from ml.mlflow_sync import rest
from ml.mlflow_sync.rest import MlflowRest

PROD_ALIAS, PREVIOUS_ALIAS = "prod", "previous"


def follow_alias(api: MlflowRest, sessions: sessionmaker[Session], model: str) -> None:
    """Follow a change of `prod` since it was last read or written; move the alias back where that fails.

    Only for a model that is in sync: a change of ours that was not exported yet is nobody's promotion.
    """
    with sessions.begin() as session:
        written_before = written_at(mlflow_state.find_alias(session, model))
    version = rest.get_alias_version(api, model, PROD_ALIAS)
    with sessions.begin() as session:
        deployments.lock_model(session, model)
        recorded = mlflow_state.find_alias(session, model)
        if (
            written_at(recorded) != written_before
            or mlflow_state.find_desired_aliases(session, model) is None
            or mlflow_state.is_out_of_sync(session, model)
        ):
            return  # decided since the request: the export goes first
        if recorded is None:
            mlflow_state.save_aliases(session, model, AliasVersions(version, None), sent=True)
            return
        if recorded.version == version:
            return
        refused = promote_version(session, model, version)
        desired = mlflow_state.find_desired_aliases(session, model)
        if refused is not None and desired is not None and desired.prod is None:
            mlflow_state.save_aliases(
                session, model, AliasVersions(version, recorded.previous), sent=True, refused=refused
            )
        elif refused is None:
            mlflow_state.save_aliases(session, model, AliasVersions(version, recorded.previous), sent=True)
            logger.info("MLflow's alias {} of {} was moved to version {}", PROD_ALIAS, model, version)
        else:
            recorded_versions = AliasVersions(recorded.version, recorded.previous)
            mlflow_state.save_aliases(session, model, recorded_versions, sent=False, refused=refused)
            logger.warning("MLflow's alias {} of {} is moved back: {}", PROD_ALIAS, model, refused)


def written_at(alias: MlflowAlias | None) -> datetime | None:
    """Return the time of the last write, which is unique to each write."""
    return alias.at if alias else None


def promote_version(session: Session, model: str, version: int | None) -> str | None:
    """Deploy the release of this version; return None, or a sentence why that is refused."""
    if version is None:
        return "it was removed, and something is live"
    release = mlflow_state.find_release_by_version(session, model, version)
    if release is None:
        return f"version {version} was not made by this appliance"
    why = f"version {version} was given the alias {PROD_ALIAS} in MLflow"
    try:
        deployments.deploy(session, release, who="MLflow", why=why, cause=Cause.PROMOTION)
    except deployments.RefusedError as refused:
        return f"version {version}: {refused}"
    return None
