"""Retrainings of the live commit: due, suggested, started and ended, each occasion once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import deployments, release_queue, retraining_plans
from db.claims import MAX_ATTEMPTS
from db.deployments import RefusedError
from db.models import Release
from db.retraining_models import Retraining, RetrainingPlan
from db.session import notify
from db.states import (
    CHANGE_TRIGGERS,
    RETRAIN_TRIGGERS,
    RetrainingState,
    Status,
    Trigger,
)
from db.transitions import update_retraining

# a recorded time further ahead is of a clock that was wrong then, and stands for nothing any more
MAX_AHEAD = timedelta(days=7)
MAX_REASON_CHARS = 1000
MAX_LISTED = 20
MAX_BEGUN = 1000  # of a model, in the time that its budget is of


@dataclass(frozen=True)
class Occasion:
    """A reason to train a model again; `key` has at most one retraining for each trigger."""

    trigger: Trigger
    key: str
    reason: str
    scheduled_at: datetime | None = None


def find_previous(session: Session, model: str, at: datetime, now: datetime) -> tuple[datetime | None, bool]:
    """Return the last scheduled time before `at` that has a retraining, and whether one stands for `at`.

    One that missed others stands for all of them; a clock that was set back makes them due again.
    """
    scheduled = (Retraining.model == model) & (Retraining.trigger == Trigger.SCHEDULE)
    stands = scheduled & (Retraining.scheduled_at >= at) & (Retraining.scheduled_at <= now + MAX_AHEAD)
    is_covered = (Retraining.since < at) | (Retraining.scheduled_at == at)
    if session.scalar(select(select(Retraining.id).where(stands, is_covered).exists())):
        return None, True
    last = select(func.max(Retraining.scheduled_at)).where(scheduled, Retraining.scheduled_at < at)
    return session.scalar(last), False


def list_begun(session: Session, model: str, since: datetime, now: datetime) -> Sequence[Retraining]:
    """Return what limits the next retraining of a model, newest first: the newest that was begun since then,
    and all those that make a release, however many made none after them.
    """
    is_begun = Retraining.release_id.is_not(None) | Retraining.state.in_(
        (
            RetrainingState.WAITING,
            RetrainingState.STARTED,
            RetrainingState.UNCHANGED,
            RetrainingState.FAILED,
        )
    )
    lately = (Retraining.created_at > since) & (Retraining.created_at <= now + MAX_AHEAD)
    begun = (Retraining.model == model) & lately & is_begun
    makes_release = Retraining.release_id.is_not(None) | Retraining.ended_at.is_(None)
    is_newest = Retraining.id == select(func.max(Retraining.id)).where(begun).scalar_subquery()
    found = select(Retraining).where(begun, makes_release | is_newest)
    return session.scalars(found.order_by(Retraining.id.desc()).limit(MAX_BEGUN)).all()


def explain_block(session: Session, model: str) -> str | None:
    """Return what a model has on its way, so that it is not trained again now; None where nothing is."""
    on_its_way = Release.status.in_((Status.QUEUED, Status.BUILDING))
    triggers = (*CHANGE_TRIGGERS, Trigger.TAG, Trigger.MANUAL, *RETRAIN_TRIGGERS)
    found = session.execute(
        select(Release.id, Release.trigger)
        .where(Release.model == model, on_its_way, Release.trigger.in_(triggers))
        .order_by(Release.id.desc())
        .limit(1)
    ).first()
    if found is not None:
        return f"release {found.id} ({found.trigger}) is on its way"
    if (wanted := deployments.find_wanted(session, model)) is not None:
        return f"release {wanted.release_id} is about to go live"
    waiting = (Retraining.model == model) & (Retraining.state == RetrainingState.WAITING)
    if session.scalar(select(select(Retraining.id).where(waiting).exists())):
        return "another retraining is on its way"
    return None


def request(
    session: Session,
    model: str,
    occasion: Occasion,
    *,
    since: datetime | None = None,
    now: datetime | None = None,
    state: RetrainingState = RetrainingState.WAITING,
) -> Retraining | None:
    """Record that a model is to be trained again; None where that is on record, or nothing is live.

    The caller holds `deployments.lock_model`. `since` is the time after which a scheduled one stands for all.
    """
    live = deployments.find_live(session, model)
    if live is None:
        return None
    facts = {
        "model": model,
        "trigger": occasion.trigger,
        "occasion": occasion.key,
        "scheduled_at": occasion.scheduled_at,
        "since": since,
        "reason": occasion.reason[:MAX_REASON_CHARS],
        "state": state,
        "commit": live.release.commit,
        "live_release": live.release_id,
        "created_at": now or func.now(),
    }
    # of several that look at the same moment, one makes the row
    new = insert(Retraining).values(facts).on_conflict_do_nothing()
    made = session.scalar(new.returning(Retraining))
    if made is not None:
        notify(session, "releases", model)
    return made


def suggest(session: Session, model: str, occasion: Occasion) -> Retraining | None:
    """Suggest to operators to train a model again; None where that was suggested, or nothing is live."""
    deployments.lock_model(session, model)
    return request(session, model, occasion, state=RetrainingState.SUGGESTED)


def accept(session: Session, model: str, number: int, who: str) -> Retraining:
    """Start what was suggested, whatever cooldown, budget and pause say; raises `RefusedError` when stale."""
    deployments.lock_model(session, model)
    found = session.get(Retraining, number, with_for_update=True, populate_existing=True)
    if found is None or found.model != model:
        raise RefusedError(f"{model} has no retraining {number}")
    live = deployments.find_live(session, model)
    if found.state is not RetrainingState.SUGGESTED:
        raise RefusedError(f"retraining {number} is not suggested any more: it is {found.state}")
    if live is None or live.release_id != found.live_release:
        now = f"release {live.release_id} is live" if live else "nothing is live"
        raise RefusedError(f"retraining {number} was suggested for release {found.live_release}, and {now}")
    if (block := explain_block(session, model)) is not None:
        raise RefusedError(f"{block}: start it when that has ended")
    session.execute(
        update_retraining(RetrainingState.WAITING, requested_by=who).where(Retraining.id == number)
    )
    notify(session, "releases", model)
    session.refresh(found)
    return found


def list_waiting(session: Session, models: Sequence[str]) -> Sequence[int]:
    """Return the retrainings of these models that wait; of paused models only those that a person started."""
    paused = select(RetrainingPlan.model).where(RetrainingPlan.paused_at.is_not(None))
    goes_on = or_(Retraining.model.not_in(paused), Retraining.requested_by.is_not(None))
    waits = (Retraining.state == RetrainingState.WAITING) & Retraining.model.in_(models)
    return session.scalars(select(Retraining.id).where(waits, goes_on).order_by(Retraining.id)).all()


def find(session: Session, number: int) -> Retraining | None:
    return session.get(Retraining, number)


def begin_attempt(session: Session, number: int) -> Retraining | None:
    """Count an attempt to make the release of a retraining that waits, and return that.

    None when it has ended, or ends with this: each of `MAX_ATTEMPTS` attempts died without an error.
    """
    found = session.get(Retraining, number, with_for_update=True, populate_existing=True)
    if found is None or found.state is not RetrainingState.WAITING:
        return None
    if found.attempts >= MAX_ATTEMPTS:
        outcome = f"the process that makes its release died {MAX_ATTEMPTS} times: is there enough memory?"
        failed = update_retraining(RetrainingState.FAILED, outcome=outcome, ended_at=func.now())
        session.execute(failed.where(Retraining.id == number))
        return None
    found.attempts += 1
    return found


def give_attempt_back(session: Session, number: int) -> None:
    """Count an attempt for nothing that was stopped, or that has to wait."""
    begun = (Retraining.id == number) & (Retraining.attempts > 0)
    session.execute(update(Retraining).where(begun).values(attempts=Retraining.attempts - 1))


def start(session: Session, number: int, repository: str, *, warm_start: bool) -> Release | None:
    """Queue the release of a retraining that waits.

    None when it has ended, another commit is live, or another release is about to be.
    """
    found = session.get_one(Retraining, number)
    deployments.lock_model(session, found.model)
    session.refresh(found, with_for_update=True)
    live = deployments.find_live(session, found.model)
    if found.state is not RetrainingState.WAITING or live is None or live.release.commit != found.commit:
        return None  # what put another commit live has ended it
    if deployments.find_wanted(session, found.model) is not None:
        return None  # a rollback, which ends it
    made = release_queue.queue_release(
        session,
        found.model,
        repository,
        found.commit,
        found.trigger,
        who=found.requested_by,
        title=found.reason,
        warm_start=live.release_id if warm_start else None,
    )
    session.execute(
        update_retraining(RetrainingState.STARTED, release_id=made.id).where(Retraining.id == number)
    )
    return made


def end_unchanged(session: Session, number: int, outcome: str) -> bool:
    """Record that a release would be what is live; return False where the retraining had ended."""
    ended = update_retraining(RetrainingState.UNCHANGED, outcome=outcome, ended_at=func.now())
    return session.scalar(ended.where(Retraining.id == number).returning(Retraining.id)) is not None


def list_retrainings(
    session: Session, model: str, limit: int = MAX_LISTED
) -> Sequence[tuple[Retraining, Release | None]]:
    """Return the newest retrainings of a model, newest first, each with the release that it made."""
    rows = session.execute(
        select(Retraining, Release)
        .outerjoin(Release, Release.id == Retraining.release_id)
        .where(Retraining.model == model)
        .order_by(Retraining.id.desc())
        .limit(limit)
    )
    return [(made, release) for made, release in rows]


def list_suggested(session: Session, models: Sequence[str]) -> Sequence[Retraining]:
    """Return what is suggested for the releases that these models serve, oldest first."""
    waits = (Retraining.state == RetrainingState.SUGGESTED) & Retraining.model.in_(models)
    found = session.scalars(select(Retraining).where(waits).order_by(Retraining.id)).all()
    live = retraining_plans.list_live(session, sorted({one.model for one in found})) if found else {}
    return [one for one in found if one.model in live and live[one.model].release == one.live_release]
