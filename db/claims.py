"""Claims: one builder claims a release, writes to it while it holds the claim, and settles it once."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from common.system.backoff import Backoff
from db import check_reports, deployments, newest, release_events
from db.check_runs import Annotation
from db.models import Release, Stage, StageName
from db.session import notify
from db.stages import fail_open_stages
from db.states import RETRAIN_TRIGGERS, Cause, Status
from db.transitions import update_status

MAX_ATTEMPTS = 5  # of a release that failed for an external reason
RETRY_BACKOFF = Backoff(15, 960, factor=4)  # between them
MAX_RETRY_DELAY = timedelta(seconds=RETRY_BACKOFF.max_seconds)


class ClaimLostError(Exception):
    """A claim that was taken from this builder: nothing it still holds is valid."""


@dataclass(frozen=True)
class Claim:
    """One builder's claim on one release; each write is conditional on `token`."""

    release: Release
    token: str

    @property
    def is_current(self) -> ColumnElement[bool]:
        return (Release.id == self.release.id) & (Release.token == self.token)


@dataclass(frozen=True)
class Deployed:
    """An outcome that passed the gate; `snapshot` holds the deployments that the gate compared with."""

    snapshot: deployments.DeploymentSnapshot


@dataclass(frozen=True)
class Finished:
    """A final outcome, with a reason that a person understands."""

    status: Status
    reason: str
    log: tuple[str, ...] = ()  # the last lines of the stage that failed
    annotations: tuple[Annotation, ...] = ()  # the lines of the repository that it names


@dataclass(frozen=True)
class Retry:
    """A failure for an external reason: retried after `delay`, by Postgres's clock."""

    reason: str
    delay: timedelta


def claim(session: Session, release_id: int) -> Claim | None:
    """Claim a queued release with a new token; return None when another builder has it or it has ended."""
    token = secrets.token_hex(16)
    release = session.scalar(
        update_status(
            Status.BUILDING,
            token=token,
            attempts=Release.attempts + 1,
            started_at=func.coalesce(Release.started_at, func.now()),
            reason=None,
        )
        .where(Release.id == release_id, Release.status == Status.QUEUED)
        .returning(Release)
    )
    return None if release is None else Claim(release, token)


def record_facts(session: Session, claim: Claim, **facts: Any) -> None:
    """Write a stage's results; raises `ClaimLostError` when the claim is no longer held."""
    change = update_status(**facts) if "status" in facts else update(Release).values(**facts)
    written = session.execute(change.where(claim.is_current).returning(Release.id))
    if written.scalar() is None:
        raise ClaimLostError


def settle(session: Session, claim: Claim, outcome: Deployed | Finished | Retry) -> None:
    """Write status, deployment and NOTIFY, all or nothing.

    Raises `ClaimLostError` when the claim is no longer held, `deployments.ConflictError` when somebody
    decided since the gate compared: then the gate has to run again.
    """
    release = claim.release
    deployments.lock_model(session, release.model)  # nothing is merged or decided between this and the end
    facts: dict[str, Any]
    match outcome:
        case Deployed() if (newer := newest.find_newer_decided(session, release)) is not None:
            facts = superseded_facts(newer, "and went through the gate before it")
        case Deployed() if (other := find_other_commit(session, release)) is not None:
            facts = other
        case Deployed() if (hold := session.scalar(select(Release.hold).where(claim.is_current))) is not None:
            facts = {"status": Status.PASSED, "reason": hold, "finished_at": func.now()}
        case Deployed() if deployments.is_on_hold(session, release):
            reason = "a rollback is under way: it goes on when that has ended"
            release_claim(session, claim, reason, timedelta(seconds=5))
            return
        case Deployed():
            facts = {"status": Status.DEPLOYED, "reason": None, "finished_at": func.now()}
        case Finished(status, reason):
            facts = {"status": status, "reason": reason, "finished_at": func.now()}
        case Retry(reason, pause):
            facts = requeue_facts(session, release, reason, f"{reason} (given up after {MAX_ATTEMPTS} tries)")
            facts["due_at"] = func.now() + pause
    record_facts(session, claim, **facts, token=None)
    fail_open_stages(session, release.id)
    if isinstance(outcome, Deployed) and facts["status"] is Status.DEPLOYED:
        deployments.create_decision(
            session, release.model, release.id, Cause.GATE, who="gate", why=None, snapshot=outcome.snapshot
        )
    failure = outcome if isinstance(outcome, Finished) else Finished(facts["status"], "")
    check_reports.report_state(session, release.id, failure.log, failure.annotations)
    release_events.tell_ended(session, release.id)
    notify(session, "releases", release.model)


def superseded_facts(newer: Release, how: str) -> dict[str, Any]:
    """Return the columns of a release that a newer one overtook."""
    reason = f"{newest.describe_arrival(newer)} after it, {how}"
    return {"status": Status.SUPERSEDED, "reason": reason, "finished_at": func.now()}


def requeue_facts(session: Session, release: Release, reason: str, given_up: str) -> dict[str, Any]:
    """Return the columns of a requeued release: never behind a newer one, failed after too many attempts."""
    if (newer := newest.find_newer(session, release)) is not None:
        return superseded_facts(newer, "before it was finished")
    if release.attempts < MAX_ATTEMPTS:
        return {"status": Status.QUEUED, "reason": reason}
    return {"status": Status.FAILED, "reason": given_up, "finished_at": func.now()}


def find_other_commit(session: Session, release: Release) -> dict[str, Any] | None:
    """Return the columns of a retraining whose commit is neither live nor wanted; None for other releases."""
    baseline = deployments.find_baseline(session, release.model)
    if release.trigger not in RETRAIN_TRIGGERS or (baseline and baseline.release.commit == release.commit):
        return None
    reason = "another commit was to go live before it was finished"
    return {"status": Status.SUPERSEDED, "reason": reason, "finished_at": func.now()}


def requeue_orphaned(session: Session, release: Release) -> None:
    """Requeue a release whose builder died; after too many deaths it fails."""
    deployments.lock_model(session, release.model)
    is_current = (Release.id == release.id) & (Release.token == release.token)
    fail_open_stages(session, release.id)
    given_up = f"its builder died {MAX_ATTEMPTS} times without an error: is there enough memory?"
    facts = requeue_facts(
        session, release, "its builder was interrupted; the build resumes from there", given_up
    )
    session.execute(update_status(**facts, token=None, due_at=func.now()).where(is_current))
    check_reports.report_state(session, release.id)
    release_events.tell_ended(session, release.id)
    notify(session, "releases", release.model)


def release_claim(session: Session, claim: Claim, reason: str, delay: timedelta = timedelta()) -> None:
    """Requeue a release that could not be finished through no fault of its own; it costs no attempt."""
    deployments.lock_model(session, claim.release.model)
    if (newer := newest.find_newer(session, claim.release)) is not None:
        facts = superseded_facts(newer, "before it was finished")
    else:
        facts = {"status": Status.QUEUED, "reason": reason, "attempts": Release.attempts - 1}
    record_facts(session, claim, **facts, token=None, due_at=func.now() + delay)
    check_reports.report_state(session, claim.release.id)
    notify(session, "releases", claim.release.model)


def begin_stage(session: Session, claim: Claim, name: StageName) -> int:
    """Insert a row for a stage that begins now; raises `ClaimLostError` when the claim is no longer held."""
    record_facts(session, claim, status=Status.BUILDING)
    stage = Stage(release_id=claim.release.id, name=name)
    session.add(stage)
    session.flush()
    check_reports.report_stage(session, claim.release, name)
    if name is StageName.ENVIRONMENT:  # it is checked out, and gets a run in MLflow now
        notify(session, "tracking", claim.release.model)
    return stage.id


def retry_delay(attempts: int) -> timedelta:
    """Return the delay before attempt number `attempts + 1`."""
    return timedelta(seconds=RETRY_BACKOFF.get_pause(max(1, attempts)))
