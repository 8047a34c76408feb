"""The monitor: `python -m ml.monitor` measures each live model of which there is something new, and ends."""

import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.system import filelock
from common.system.session_nice import set_session_nice
from db import deployments, monitor_due, monitor_results, retraining_plans
from db.monitor_due import DueModel
from db.session import DB_ERRORS, create_sessionmaker, describe_error
from ml.monitor.alarms import record_decay, record_drift
from ml.monitor.limited_process import NICENESS
from ml.monitor.measure_drift import measure_drift
from ml.monitor.measure_quality import measure_quality
from ml.monitor.program import MeasurementError
from ml.paths import HomeLayout
from ml.settings import MlSettings, ModelConfig

MAX_RUN_SECONDS = 3600  # of one run, which ends there: the next begins with what was not measured


def main() -> None:
    settings = MlSettings()
    log.configure("monitor", settings.log)
    os.nice(NICENESS)
    set_session_nice("self", NICENESS)
    signal.alarm(MAX_RUN_SECONDS)
    lock = HomeLayout(settings.home.absolute()).monitor_lock
    if not settings.monitor or filelock.is_locked(lock):
        return
    sessions = create_sessionmaker(settings.database_url)
    try:
        with filelock.acquire(lock):
            measure_due(sessions, settings)
    except DB_ERRORS as error:
        sys.exit(f"what is live is measured later: Postgres is away: {describe_error(error)}")


def measure_due(sessions: sessionmaker[Session], settings: MlSettings) -> None:
    """Measure the models that are due, one after the other."""
    models = {model.name: model for model in settings.list_models()}
    with sessions.begin() as session:
        monitor_results.forget_unfollowed(session, list(models))
        live = retraining_plans.list_live(session, list(models))
        due = monitor_due.list_due(session, live, timedelta(seconds=settings.monitor_seconds))
    for one in due:
        measure_model(sessions, settings, models[one.live.model], one)


def measure_model(
    sessions: sessionmaker[Session], settings: MlSettings, model: ModelConfig, due: DueModel
) -> None:
    """Measure one model; what goes wrong is stored, logged once, and holds up no other model."""
    live = due.live
    with sessions.begin() as session:
        serving = deployments.find_live(session, live.model)
        if serving is None or serving.release_id != live.release:
            return  # another release went live: the next run is about that
        state = monitor_results.begin_measurement(session, live.model, live.release)

    def measure_and_store_drift() -> None:
        record_drift(sessions, model, live, measure_drift(sessions, settings, model, serving, state))

    def measure_and_store_quality() -> None:
        record_decay(sessions, model, live, measure_quality(sessions, settings, model, live))

    problems = [*attempt(measure_and_store_drift), *attempt(measure_and_store_quality)]
    problem = "; ".join(problems) or None
    with sessions.begin() as session:
        is_new = monitor_results.end_measurement(session, live.model, live.release, due.newest, problem)
    if is_new:
        logger.warning("{} could not be measured: {}", live.model, problem)


def attempt(measure: Callable[[], None]) -> list[str]:
    """Take one measurement; return why it was not made."""
    try:
        measure()
    except MeasurementError as fault:
        return [str(fault)]
    except DB_ERRORS as error:  # one statement may have taken too long; else the next one ends the run
        return [f"Postgres did not answer: {describe_error(error)}"]
    except Exception as fault:  # noqa: BLE001 (a bug of ours must hold up no other model)
        logger.exception("a measurement broke")
        return [f"a bug of Slipway's: {fault!r}"]
    return []


if __name__ == "__main__":
    main()
