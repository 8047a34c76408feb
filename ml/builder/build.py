"""The build of a release in this process: its claim, its outcome, and what ends it before."""

import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import sleep
from types import FrameType
from typing import Protocol

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.errors import RejectedError
from common.system import disk, filelock
from db import claims, deployments, recorded_rows, release_queue, releases, request_log
from db.claims import Claim, Finished
from db.limits import BUILDER_SECONDS
from db.models import Release
from db.session import DB_ERRORS, create_sessionmaker, describe_error, open_snapshot
from ml import stage_log
from ml.builder.annotations import find_annotations
from ml.builder.commit import PostgresLostError, commit_change
from ml.builder.context import BuildContext, JudgedChange
from ml.builder.outcomes import BuildOutcome, describe_outcome, to_outcome
from ml.builder.prediction_diff import MAX_ROWS, MIN_WHOLE_ROWS, explain_too_few
from ml.builder.progress import BuildProgress, StageRunner
from ml.builder.reuse import ReuseCheck, reuse_check
from ml.builder.stages.data import OpenRecorded
from ml.builder.stages.gate import GateInputs, ReadGateInputs
from ml.builder.stages.train import OpenLogTarget
from ml.git_token import use_git_token
from ml.mlflow_sync.training_log import open_log_target
from ml.paths import HomeLayout
from ml.settings import MlSettings
from ml.sources.recorded.source import open_recorded

RESTS = (0.0, 1.0, 5.0, 15.0)  # seconds until the gate is run again when a decision was made meanwhile
MAX_TRACEBACK_BYTES = 64 << 10  # of that log, in which tracebacks are looked for
MAX_TAIL_BYTES, MAX_TAIL_LINES = 16 << 10, 20  # of the log of a failure
OVERTAKEN_DELAY = timedelta(minutes=1)


class RunStages(Protocol):
    """The pipeline, with what it needs of Postgres."""

    def __call__(
        self,
        context: BuildContext,
        stages: StageRunner,
        read_gate_inputs: ReadGateInputs,
        open_log_target: OpenLogTarget,
        reuse_check: ReuseCheck,
        /,
        *,
        open_recorded: OpenRecorded,
    ) -> BuildOutcome: ...


class ShutdownRequested(BaseException):
    """A request of the appliance to stop; no error of anybody."""


def main(release_id: int, run_stages: RunStages) -> None:
    settings = MlSettings()
    log.configure("build", settings.log)
    signal.signal(signal.SIGTERM, request_shutdown)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        claim_and_build(settings, release_id, run_stages)
    except DB_ERRORS as error:  # nothing can be recorded: the controller requeues the release
        sys.exit(f"release {release_id}: Postgres is away: {describe_error(error)}")
    except PostgresLostError as error:
        sys.exit(f"release {release_id}: Postgres stayed away, the build stops here: {error}")


def request_shutdown(number: int, _: FrameType | None) -> None:
    raise ShutdownRequested(number)


def claim_and_build(settings: MlSettings, release_id: int, run_stages: RunStages) -> None:
    """Build a release in this process, unless another builder has it."""
    sessions = create_sessionmaker(settings.database_url, BUILDER_SECONDS)
    folder = HomeLayout(settings.home.absolute()).release_path(release_id)
    with ExitStack() as stack:
        try:
            stack.enter_context(filelock.acquire(folder / "builder.lock"))
        except OSError as error:
            if error.errno not in disk.FULL_ERRNOS:
                raise
            with sessions.begin() as session:
                release_queue.defer_build(session, release_id, disk.FULL_MESSAGE)
            sys.exit(f"release {release_id}: {disk.FULL_MESSAGE}")
        with sessions.begin() as session:
            claim = claims.claim(session, release_id)
        if claim is not None:
            build_claimed(settings, sessions, claim, run_stages)


def build_claimed(
    settings: MlSettings, sessions: sessionmaker[Session], claim: Claim, run_stages: RunStages
) -> None:
    """Build a claimed release until it ends, the claim is lost or the appliance stops."""
    release = claim.release
    with sessions.begin() as session:
        parent = session.get(Release, release.warm_start) if release.warm_start else None
    model = next((model for model in settings.list_models() if model.name == release.model), None)
    last = find_last_judged(sessions, release) if model and model.path else None

    def attempt() -> BuildOutcome:
        if model is None:
            raise RejectedError(f"the appliance no longer follows {release.repository}")
        with use_git_token(settings, sessions, release.repository) as access:
            context = BuildContext(access, model.for_release(release), release, parent, last)
            return run_stages(
                context,
                BuildProgress(sessions, claim, context.log_path),
                partial(read_gate_inputs, sessions, release.model),
                partial(open_log_target, settings, sessions, release),
                partial(reuse_check, sessions, claim),
                open_recorded=partial(open_recorded, sessions, release),
            )

    try:
        build(sessions, claim, attempt, settings.home.absolute())
    except claims.ClaimLostError:
        logger.warning("release {} was claimed by another builder; this one ends", release.id)
    except ShutdownRequested:
        with suppress(claims.ClaimLostError), sessions.begin() as session:  # lost: it had just been settled
            claims.release_claim(session, claim, "it was interrupted; it goes on from there")
        logger.info("release {}: requeued", release.id)


def find_last_judged(sessions: sessionmaker[Session], release: Release) -> JudgedChange | None:
    """Return the change of a model that was judged before a release, and whether it is live."""
    with sessions.begin() as session:
        last = releases.find_last_judged(session, release)
        live = deployments.find_live(session, release.model)
    return JudgedChange(last, is_live=bool(live and live.release_id == last.id)) if last else None


def read_gate_inputs(sessions: sessionmaker[Session], model: str, test_sha256: str) -> GateInputs:
    """Return everything that the gate compares with, from one database snapshot."""
    with open_snapshot(sessions) as session:
        live = deployments.find_baseline(session, model)
        requests = request_log.list_replayable(session, model, MAX_ROWS) if live else []
        too_few = live is not None and len(requests) < MIN_WHOLE_ROWS
        reduced = request_log.count_reduced(session, model, MAX_ROWS) if too_few else 0
        return GateInputs(
            live=live,
            requests=[] if reduced else requests,
            not_compared=explain_too_few(len(requests), reduced) if reduced else None,
            snapshot=deployments.take_snapshot(session, model),
            past=releases.list_recently_live(session, model, test_sha256),
            trained_until=recorded_rows.find_trained_until(session, model),
        )


def build(sessions: sessionmaker[Session], claim: Claim, run: Callable[[], BuildOutcome], home: Path) -> None:
    """Take one claimed release as far as it gets, and record the outcome.

    Raises `ClaimLostError` when another builder has taken the release over, `PostgresLostError` when the
    outcome cannot be recorded.
    """
    for pause in RESTS:
        outcome: BuildOutcome
        try:
            outcome = run()
        except (claims.ClaimLostError, PostgresLostError):
            raise
        except Exception as fault:  # noqa: BLE001 (a bug of ours must not stop the controller)
            outcome = to_outcome(fault, claim.release, home)
            if isinstance(outcome, Finished):
                outcome = with_log(outcome, HomeLayout(home), claim.release.id)
        try:
            commit_change(sessions, claim.release.id, partial(claims.settle, claim=claim, outcome=outcome))
        except deployments.ConflictError:
            logger.info("release {}: somebody decided meanwhile, the gate is asked again", claim.release.id)
            sleep(pause)
        else:
            logger.info(
                "release {} ({}): {}", claim.release.id, claim.release.commit[:8], describe_outcome(outcome)
            )
            return
    reason = "decisions were made each time that the gate compared: it is asked again when that has ended"
    with sessions.begin() as session:
        claims.release_claim(session, claim, reason, OVERTAKEN_DELAY)


def with_log(failure: Finished, home: HomeLayout, release_id: int) -> Finished:
    """Return a failure with the last lines of the log that was written last, and what its tracebacks name."""
    files = sorted(home.logs_path(release_id).glob("*.log"), key=lambda file: file.stat().st_mtime)
    if not files:
        return failure
    lines = stage_log.read_last_lines(files[-1], MAX_TRACEBACK_BYTES)
    found = find_annotations(lines, home.release_path(release_id), home.source_path(release_id))
    tail = stage_log.read_last_lines(files[-1], MAX_TAIL_BYTES)[-MAX_TAIL_LINES:]
    return replace(failure, log=tuple(tail), annotations=found)
