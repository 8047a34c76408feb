"""The child process of watch that rescores a live release: `python -m ml.builder.rescore SCORE`."""

import shutil
import sys
from pathlib import Path

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.errors import RejectedError
from db import scores
from db.limits import BUILDER_SECONDS
from db.models import Score
from db.session import DB_ERRORS, create_sessionmaker, describe_error
from db.states import StageOutcome, Status
from ml import manifest
from ml.builder import scoring
from ml.builder.outcomes import to_stage_outcome
from ml.builder.scoring import ModelScores
from ml.paths import HomeLayout
from ml.runtime.materialize import materialize_release
from ml.settings import MlSettings
from ml.sources import datasets
from ml.sources.recorded.source import open_recorded


def score_release(
    settings: MlSettings, sessions: sessionmaker[Session], request: Score
) -> tuple[ModelScores, datasets.DataSet]:
    """Score the release on the current content of the test data that its manifest names."""
    model = next((model for model in settings.list_models() if model.name == request.model), None)
    if model is None:
        raise RejectedError(f"the appliance no longer follows {request.model}")
    home, release = HomeLayout(settings.home.absolute()), request.release
    ready = materialize_release(settings, model, release, lambda text: logger.info("{}", text))
    declared = manifest.read(ready.runtime.source)
    folder, log = home.release_path(release.id) / f"score-{request.id}", home.log_path(release.id, "score")
    recorded = open_recorded(sessions, release, declared, ready.runtime.source)
    sources, data_folder = datasets.data_sources(settings, model.name, recorded), folder.with_suffix(".data")
    try:
        test = datasets.resolve_datasets(
            ("test",), declared.data, ready.runtime.source, sources, output=data_folder, log=log
        )["test"]
        scored = scoring.score_release(ready, test, output=folder, log=log, timeout=settings.evaluate_timeout)
    finally:
        shutil.rmtree(data_folder, ignore_errors=True)
    return scored, test


def explain_failure(score_id: int, error: Exception, home: Path) -> str:
    """Return a sentence why there is no score; a bug of ours is logged with its traceback."""
    outcome, reason = to_stage_outcome(error, home)
    if outcome is StageOutcome.FAILED:
        logger.opt(exception=error).error("score {} broke", score_id)
        return f"a bug of Slipway's, not of the release: {reason}"
    logger.warning("score {}: {}", score_id, reason)
    return reason


def main(score_id: int) -> None:
    settings = MlSettings()
    log.configure("score", settings.log)
    sessions = create_sessionmaker(settings.database_url, BUILDER_SECONDS)
    with sessions.begin() as session:
        request = scores.find(session, score_id)
    if request is None or request.status is not Status.QUEUED:
        return
    try:
        scored, test = score_release(settings, sessions, request)
    except DB_ERRORS as error:  # nothing can be recorded: the controller starts it again
        sys.exit(f"score {score_id}: Postgres is away: {describe_error(error)}")
    except Exception as fault:  # noqa: BLE001 (a score that is not settled is retried without end)
        with sessions.begin() as session:
            scores.settle_score(
                session, score_id, Status.FAILED, reason=explain_failure(score_id, fault, settings.home)
            )
        return
    logger.info("score {}: release {} gives {}", score_id, request.release_id, scored.metrics)
    with sessions.begin() as session:
        scores.settle_score(
            session, score_id, Status.PASSED, metrics=scored.metrics, data={"test": test.to_metadata()}
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))
