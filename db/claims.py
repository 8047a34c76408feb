"""A release in the hands of one builder: claimed, written to while it is held, settled once."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from db import deployments, newest
from db.models import Cause, Outcome, Release, Stage, Status
from db.session import notify

TRIES = 5  # of a release whose failure was the world's


class Lost(Exception):
    """The claim was taken from this builder: whatever it still holds is void."""


@dataclass(frozen=True)
class Claim:
    """One builder's hold on one release; each write is conditional on `token`."""

    release: Release
    token: str

    @property
    def held(self) -> ColumnElement[bool]:
        return (Release.id == self.release.id) & (Release.token == self.token)


@dataclass(frozen=True)
class Deployed:
    """The gate let it through; `seen` is what it compared with."""

    seen: deployments.Seen


@dataclass(frozen=True)
class Ended:
    """It ends here, for a reason that a person understands."""

    status: Status
    reason: str


@dataclass(frozen=True)
class Later:
    """The world was not ready: once more at `due_at`."""

    reason: str
    due_at: datetime


def take(session: Session, release_id: int) -> Claim | None:
    """Take a queued release, with a new token; None when somebody else has it or it ended meanwhile."""
    token = secrets.token_hex(16)
    release = session.scalar(
        update(Release)
        .where(Release.id == release_id, Release.status == Status.QUEUED)
        .values(
            status=Status.BUILDING,
            token=token,
            attempts=Release.attempts + 1,
            started_at=func.coalesce(Release.started_at, func.now()),
            reason=None,
        )
        .returning(Release)
    )
    if release is None:
        return None
    notify(session, "tracking", release.model)
    return Claim(release, token)


def record(session: Session, claim: Claim, **facts: Any) -> None:
    """Write what a stage found out; raises `Lost` when the claim is no longer held."""
    written = session.execute(update(Release).where(claim.held).values(**facts).returning(Release.id))
    if written.scalar() is None:
        raise Lost


def settle(session: Session, claim: Claim, outcome: Deployed | Ended | Later) -> None:
    """Status, deployment and NOTIFY, all or nothing.

    Raises `Lost` when the claim is no longer held, `deployments.Overtaken` when somebody decided since the
    gate compared: then the gate is to be asked again.
    """
    release = claim.release
    deployments.lock(session, release.model)  # nothing is merged or decided between this and the end
    facts: dict[str, Any]
    match outcome:
        case Deployed() if (newer := newest.find_newer_decided(session, release)) is not None:
            facts = superseded(newer, "and went through the gate before it")
        case Deployed() if (hold := session.scalar(select(Release.hold).where(claim.held))) is not None:
            facts = {"status": Status.PASSED, "reason": hold, "finished_at": func.now()}
        case Deployed() if deployments.is_held(session, release):
            reason = "a rollback is under way: it goes on when that has ended"
            give_back(session, claim, reason, timedelta(seconds=5))
            return
        case Deployed():
            facts = {"status": Status.DEPLOYED, "reason": None, "finished_at": func.now()}
        case Ended(status, reason):
            facts = {"status": status, "reason": reason, "finished_at": func.now()}
        case Later(reason, due_at):
            facts = put_back(session, release, reason, f"{reason} (given up after {TRIES} tries)")
            facts["due_at"] = due_at
    record(session, claim, **facts, token=None)
    if isinstance(outcome, Deployed) and facts["status"] is Status.DEPLOYED:
        deployments.decide(
            session, release.model, release.id, Cause.GATE, who="gate", why=None, seen=outcome.seen
        )
    notify(session, "releases", release.model)


def superseded(newer: Release, how: str) -> dict[str, Any]:
    """How a release ends that comes too late."""
    reason = f"{newest.name(newer)} after it, {how}"
    return {"status": Status.SUPERSEDED, "reason": reason, "finished_at": func.now()}


def put_back(session: Session, release: Release, reason: str, given_up: str) -> dict[str, Any]:
    """How a release goes back into the queue: never behind a newer one, and not after too many tries."""
    if (newer := newest.find_newer(session, release)) is not None:
        return superseded(newer, "before it was finished")
    if release.attempts < TRIES:
        return {"status": Status.QUEUED, "reason": reason}
    return {"status": Status.FAILED, "reason": given_up, "finished_at": func.now()}


def abandon(session: Session, release: Release) -> None:
    """Put a release whose builder died back into the queue; after too many deaths it fails."""
    deployments.lock(session, release.model)
    held = (Release.id == release.id) & (Release.token == release.token)
    ended = (Stage.release_id == release.id) & (Stage.outcome == Outcome.RUNNING)
    session.execute(update(Stage).where(ended).values(outcome=Outcome.FAILED, ended_at=func.now()))
    given_up = f"its builder died {TRIES} times without a word: is there enough memory?"
    facts = put_back(session, release, "its builder was cut off; it goes on from there", given_up)
    session.execute(update(Release).where(held).values(token=None, due_at=func.now(), **facts))
    notify(session, "releases", release.model)


def give_back(session: Session, claim: Claim, reason: str, pause: timedelta = timedelta()) -> None:
    """Put a release back that could not be finished for no fault of its own; it costs no try."""
    deployments.lock(session, claim.release.model)
    if (newer := newest.find_newer(session, claim.release)) is not None:
        facts = superseded(newer, "before it was finished")
    else:
        facts = {"status": Status.QUEUED, "reason": reason, "attempts": Release.attempts - 1}
    record(session, claim, **facts, token=None, due_at=func.now() + pause)


def begin_stage(session: Session, claim: Claim, name: str) -> int:
    """A row for a stage that begins now; `Lost` when the claim is no longer held."""
    record(session, claim, status=Status.BUILDING)
    stage = Stage(release_id=claim.release.id, name=name)
    session.add(stage)
    session.flush()
    return stage.id


def end_stage(session: Session, stage: int, outcome: Outcome) -> None:
    session.execute(
        update(Stage).where(Stage.id == stage).values(outcome=outcome, ended_at=func.clock_timestamp())
    )


def pause(attempts: int) -> timedelta:
    """How long the world is given before try number `attempts + 1`: 15 s, 1, 4, 16 minutes."""
    return timedelta(seconds=15 * 4 ** max(0, attempts - 1))
