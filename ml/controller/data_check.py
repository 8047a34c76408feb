"""The child process that asks whether data has changed: `python -m ml.controller.data_check MODEL`."""

import sys
from datetime import timedelta

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.errors import RejectedError, UnavailableError
from common.text import make_storable
from db import deployments, retraining_plans
from db.models import Release
from db.session import DB_ERRORS, create_sessionmaker, describe_error, read_time
from ml import manifest
from ml.controller.retraining import POSTGRES_AWAY
from ml.git_token import use_git_token
from ml.paths import HomeLayout
from ml.settings import MlSettings, ModelConfig
from ml.sources import data_versions, datasets, source_tree
from ml.sources.data_versions import ChangedData
from ml.sources.recorded.source import open_recorded
from ml.stage_log import discard

MAX_PROBLEM_CHARS = 1000


def main(name: str) -> None:
    settings = MlSettings()
    log.configure("data", settings.log)
    model = next((model for model in settings.list_models() if model.name == name), None)
    if model is None:
        return
    try:
        check_data(settings, create_sessionmaker(settings.database_url), model)
    except DB_ERRORS as error:
        logger.warning("the data of {} is not looked at: Postgres is away: {}", name, describe_error(error))
        sys.exit(POSTGRES_AWAY)


def check_data(settings: MlSettings, sessions: sessionmaker[Session], model: ModelConfig) -> None:
    """Store what has changed of a model's data, or why that cannot be found out."""
    name = model.name
    with sessions.begin() as session:
        live = deployments.find_live(session, name)
    if live is None:
        return
    changed, problem = None, None
    try:
        with use_git_token(settings, sessions, model.repository) as access:
            changed = look_at_data(access, sessions, model, live.release)
    except (RejectedError, UnavailableError, OSError) as fault:
        problem = make_storable(str(fault), MAX_PROBLEM_CHARS)
    except DB_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001 (a bug of ours is to be seen where other problems are)
        logger.exception("the look at the data of {} broke", name)
        problem = make_storable(f"Slipway's own error: {error!r}", MAX_PROBLEM_CHARS)
    with sessions.begin() as session:
        is_new = retraining_plans.record_data(
            session,
            name,
            (changed.digest, changed.reason) if changed else None,
            problem=problem,
            interval=timedelta(seconds=settings.data_seconds),
            now=read_time(session),
        )
    if is_new:  # once: it is asked again and again
        logger.warning("whether the data of {} has changed cannot be told: {}", name, problem)


def look_at_data(
    settings: MlSettings, sessions: sessionmaker[Session], model: ModelConfig, live: Release
) -> ChangedData | None:
    """Return what has changed of the data that the live release was trained on."""
    source = HomeLayout(settings.home.absolute()).source_path(live.id)
    if not source.exists():
        source_tree.checkout_release(settings, model.for_release(live), live, discard)
    declared = manifest.read(source)
    recorded = open_recorded(sessions, live, declared, source)
    sources = datasets.data_sources(settings, model.name, recorded)
    return data_versions.find_changed_data(declared.data, source, sources, live.id, live.data or {})


if __name__ == "__main__":
    main(sys.argv[1])
