"""The outcome of a release and of its stages, by whose fault an exception was."""

from pathlib import Path

from loguru import logger

from common.errors import RejectedError, UnavailableError
from common.system import disk
from common.text import make_storable
from db import claims
from db.claims import Deployed, Finished, Retry
from db.models import Release
from db.session import DB_ERRORS, describe_error
from db.states import StageOutcome, Status

MAX_REASON_CHARS = 4000
BuildOutcome = Deployed | Finished | Retry


def to_outcome(error: Exception, release: Release, home: Path) -> BuildOutcome:
    """Return the outcome by whose fault it was: the commit's (final), external (retried), ours (a bug)."""
    outcome, reason = to_stage_outcome(error, home)
    if outcome is StageOutcome.REJECTED:
        return Finished(Status.REJECTED, make_storable(reason, MAX_REASON_CHARS))
    if outcome is StageOutcome.UNAVAILABLE:
        return Retry(reason, claims.retry_delay(release.attempts))
    logger.opt(exception=error).error("release {} broke the pipeline", release.id)
    return Finished(
        Status.FAILED, make_storable(f"a bug of Slipway's, not of the commit: {reason}", MAX_REASON_CHARS)
    )


def to_stage_outcome(error: BaseException, home: Path) -> tuple[StageOutcome, str]:
    """Return the outcome of a stage that raised `error`, and the reason.

    `home` is on the disk of SLIPWAY_HOME.
    """
    if isinstance(error, DB_ERRORS):
        return StageOutcome.UNAVAILABLE, f"Postgres is away: {describe_error(error)}"
    match error:
        case RejectedError():
            return StageOutcome.REJECTED, str(error)
        case UnavailableError():
            return StageOutcome.UNAVAILABLE, str(error)
        case OSError(errno=number) if number in disk.FULL_ERRNOS:
            return StageOutcome.UNAVAILABLE, disk.describe_full(error, home)
        case Exception():
            return StageOutcome.FAILED, repr(error)
    return StageOutcome.FAILED, "the appliance stops"


def describe_outcome(outcome: BuildOutcome) -> str:
    match outcome:
        case Deployed():
            return "passed the gate, to be deployed"
        case Finished(status, reason):
            return f"{status}: {reason}" if reason else str(status)
        case Retry(reason, pause):
            return f"tried again in {pause.total_seconds():g} s: {reason}"
