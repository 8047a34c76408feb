"""The child process that queues the release of a retraining, unless it would be the live one again.

`python -m ml.builder.retrain RETRAINING`
"""

import shutil
import signal
import sys
from contextlib import suppress

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.errors import RejectedError, UnavailableError
from db import deployments, retrainings, rollbacks
from db.limits import BUILDER_SECONDS
from db.models import Release
from db.retraining_models import Retraining
from db.session import DB_ERRORS, create_sessionmaker, describe_error
from ml import manifest
from ml.environments import environments
from ml.git_token import use_git_token
from ml.paths import HomeLayout
from ml.sandbox import sandbox
from ml.settings import MlSettings, ModelConfig
from ml.sources import datasets, source_tree
from ml.sources.recorded.source import open_recorded
from ml.stage_log import discard

UNCHANGED = "no release was made: files, packages, data and warm start are those of release {}, which {}"
MAX_ROLLED_BACK = 50  # of a commit, which a retraining is compared with


def main(number: int) -> None:
    settings = MlSettings()
    log.configure("retrain", settings.log)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(f"retraining {number} waits no longer"))
    sessions = create_sessionmaker(settings.database_url, BUILDER_SECONDS)
    try:
        with sessions.begin() as session:
            found = retrainings.begin_attempt(session, number)
        if found is not None and not make_release(settings, sessions, found):
            give_back(sessions, number)
    except DB_ERRORS as error:  # the controller starts it again
        give_back(sessions, number)
        sys.exit(f"retraining {number}: Postgres is away: {describe_error(error)}")
    except SystemExit:
        give_back(sessions, number)
        raise


def give_back(sessions: sessionmaker[Session], number: int) -> None:
    """Count this attempt for nothing; while Postgres is away it counts."""
    with suppress(*DB_ERRORS), sessions.begin() as session:
        retrainings.give_attempt_back(session, number)


def make_release(settings: MlSettings, sessions: sessionmaker[Session], found: Retraining) -> bool:
    """Queue the release of a retraining, or end it as unchanged; return False when it has to wait."""
    with sessions.begin() as session:
        live = deployments.find_live(session, found.model)
        earlier = list_earlier(session, live.release) if live else []
    model = next((one for one in settings.list_models() if one.name == found.model), None)
    if not live or not model:
        return False
    warm_start = model.find_retrain(live.release.retrain).warm_start
    same = find_same(settings, sessions, model, earlier, found, warm_start=warm_start)
    with sessions.begin() as session:
        if same is not None:
            fate = "is live" if same.id == live.release_id else "was rolled back"
            retrainings.end_unchanged(session, found.id, UNCHANGED.format(same.id, fate))
            logger.info("retraining {} of {}: nothing has changed", found.id, found.model)
            return True
        made = retrainings.start(session, found.id, model.repository, warm_start=warm_start)
    if made:
        logger.info("retraining {} of {}: release {}", found.id, found.model, made.id)
    return made is not None


def list_earlier(session: Session, live: Release) -> list[Release]:
    """Return the live release and those of its commit that were rolled back, which nobody needs again."""
    return [live, *rollbacks.list_quarantined(session, live.model, live.commit, MAX_ROLLED_BACK)]


def find_same(
    settings: MlSettings,
    sessions: sessionmaker[Session],
    model: ModelConfig,
    earlier: list[Release],
    asked: Retraining,
    *,
    warm_start: bool,
) -> Release | None:
    """Return the one of these whose files, packages, data and warm start the retraining would have.

    The first is live. What cannot be found out is left to the release: its stages try again, and name what
    is wrong.
    """
    live = earlier[0]
    begins_with = live.id if warm_start else None
    possible = [one for one in earlier if one.warm_start == begins_with]
    if not possible or live.commit != asked.commit:
        return None
    try:
        with use_git_token(settings, sessions, model.repository) as access:
            inputs = find_inputs(access, sessions, model, live, asked.id)
        return next((one for one in possible if inputs == (one.lock, list_digests(one.data or {}))), None)
    except (RejectedError, UnavailableError) as fault:
        logger.info("retraining {}: {}", asked.id, fault)
        return None
    except DB_ERRORS:
        raise
    except Exception:  # noqa: BLE001 (a bug of ours here must not keep a model from being trained)
        logger.exception("retraining {}: what is live cannot be compared with", asked.id)
        return None


def find_inputs(
    settings: MlSettings, sessions: sessionmaker[Session], model: ModelConfig, live: Release, number: int
) -> tuple[str, dict[str, str]]:
    """Return the packages and the digests of the data that the live commit would be trained with now."""
    home = HomeLayout(settings.home.absolute())
    log_path = home.log_path(live.id, "retrain")
    log_path.parent.mkdir(parents=True, exist_ok=True)
    source = home.source_path(live.id)
    if not source.exists():
        source_tree.checkout_release(settings, model.for_release(live), live, discard)
    declared = manifest.read(source)
    resources = model.resources.with_defaults(declared.resources)
    locked = environments.resolve_environment(
        source, home, log_path, sandbox.sandbox_for(settings, model, resources)
    )
    folder = home.release_path(live.id) / f"retraining-{number}.data"
    sources = datasets.data_sources(settings, model.name, open_recorded(sessions, live, declared, source))
    try:
        found = datasets.fetch_datasets(declared.data, source, sources, output=folder, log=log_path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(folder.with_name(f"{folder.name}.new"), ignore_errors=True)
    return locked.lock, list_digests(found.to_metadata())


def list_digests(data: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: data.get(name, {}).get("sha256", "") for name in datasets.DATASET_NAMES}


if __name__ == "__main__":
    main(int(sys.argv[1]))
