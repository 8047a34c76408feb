"""Scores a live release on today's test data. `python -m ml.score SCORE`, started by watch."""

import shutil
import sys
from pathlib import Path

from loguru import logger

from common import log
from db import scores
from db.limits import BUILDER_SECONDS
from db.models import Score, Status
from db.session import AWAY, sessions
from ml import disk, manifest
from ml.errors import Rejected, Unavailable
from ml.home import Home
from ml.restore import restore
from ml.settings import Settings
from ml.stages import data, evaluate
from ml.stages.evaluate import Scored
from ml.stages.train import Artifact


def score(settings: Settings, asked: Score) -> tuple[Scored, data.DataSet]:
    """What the release gives on the test data that its manifest names, as that is now."""
    model = next((model for model in settings.models() if model.name == asked.model), None)
    if model is None:
        raise Rejected(f"the appliance no longer follows {asked.model}")
    home, release = Home(settings.home.absolute()), asked.release
    ready = restore(settings, model, release, lambda text: logger.info("{}", text))
    said = manifest.read(ready.room.source)
    folder, log = home.release(release.id) / f"score-{asked.id}", home.log(release.id, "score")
    supply, its_data = data.supply(settings, model.name), folder.with_suffix(".data")
    try:
        test = data.gather(("test",), said.data, ready.room.source, supply, into=its_data, log=log)["test"]
        scored = evaluate.score(
            ready.room,
            ready.entry_point,
            Artifact(ready.artifact, release.artifact or ""),
            test,
            into=folder,
            log=log,
            timeout=settings.evaluate_timeout,
        )
    finally:
        shutil.rmtree(its_data, ignore_errors=True)
    return scored, test


def reason_of(score_id: int, fault: Exception, home: Path) -> str:
    """Why there is no score, in words for who asked; what is a bug of ours is logged whole."""
    match fault:
        case Rejected() | Unavailable():
            logger.warning("score {}: {}", score_id, fault)
            return str(fault)
        case OSError(errno=number) if number in disk.ERRORS:
            reason = disk.told(fault, home)
            logger.warning("score {}: {}", score_id, reason)
            return reason
    logger.opt(exception=fault).error("score {} broke", score_id)
    return f"a bug of Slipway's, not of the release: {fault!r}"


def main(score_id: int) -> None:
    settings = Settings()
    log.configure("score", settings.log)
    make = sessions(settings.database_url, BUILDER_SECONDS)
    with make.begin() as session:
        asked = scores.find(session, score_id)
    if asked is None or asked.status is not Status.QUEUED:
        return
    try:
        scored, test = score(settings, asked)
    except AWAY as error:  # nothing can be written down: the look-out asks again
        sys.exit(f"score {score_id}: Postgres went away: {error}")
    except Exception as fault:  # noqa: BLE001 (what is not settled is scored again, without end)
        with make.begin() as session:
            scores.settle(session, score_id, Status.FAILED, reason=reason_of(score_id, fault, settings.home))
        return
    logger.info("score {}: release {} gives {}", score_id, asked.release_id, scored.metrics)
    with make.begin() as session:
        scores.settle(session, score_id, Status.PASSED, metrics=scored.metrics, data={"test": test.facts()})


if __name__ == "__main__":
    main(int(sys.argv[1]))
