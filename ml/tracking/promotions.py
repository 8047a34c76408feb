"""Promotions: somebody moved MLflow's alias `prod`, so that release is to be live."""

from datetime import datetime

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import deployments, tracking
from db.models import Alias, Cause
from db.tracking import Aliases
from ml.tracking import calls
from ml.tracking.calls import Calls

PROD, PREVIOUS = "prod", "previous"


def look(calls_: Calls, sessions: sessionmaker[Session], model: str) -> None:
    """Follow a change of `prod` since it was last seen or written; what cannot be followed is put back.

    Only for a model of which MLflow knows all: what it has not been told is not somebody's promotion.
    """
    with sessions.begin() as session:
        before = at(tracking.alias(session, model))
    seen = calls.version_at(calls_, model, PROD)
    with sessions.begin() as session:
        deployments.lock(session, model)
        known = tracking.alias(session, model)
        if (
            at(known) != before
            or tracking.belongs(session, model) is None
            or tracking.is_waiting(session, model)
        ):
            return  # decided since we asked: MLflow is told first
        if known is None:
            tracking.put(session, model, Aliases(seen, None), sent=True)
            return
        if known.version == seen:
            return
        refused = promote(session, model, seen)
        belong = tracking.belongs(session, model)
        if refused is not None and belong is not None and belong.prod is None:
            tracking.put(session, model, Aliases(seen, known.previous), sent=True, refused=refused)
        elif refused is None:
            tracking.put(session, model, Aliases(seen, known.previous), sent=True)
            logger.info("MLflow's alias {} of {} was moved to version {}", PROD, model, seen)
        else:
            back = Aliases(known.version, known.previous)
            tracking.put(session, model, back, sent=False, refused=refused)
            logger.warning("MLflow's alias {} of {} is moved back: {}", PROD, model, refused)


def at(known: Alias | None) -> datetime | None:
    """When it was last written; each write is another moment."""
    return known.at if known else None


def promote(session: Session, model: str, version: int | None) -> str | None:
    """Decide for the release that this version is; or why not, in words for a person."""
    if version is None:
        return "it was removed, and something is live"
    release = tracking.of_version(session, model, version)
    if release is None:
        return f"version {version} was not made by this appliance"
    why = f"version {version} was given the alias {PROD} in MLflow"
    try:
        deployments.deploy(session, release, who="MLflow", why=why, cause=Cause.PROMOTION)
    except deployments.Refused as refused:
        return f"version {version}: {refused}"
    return None
