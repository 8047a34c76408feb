"""Decisions about what a model serves; whoever decides, decides here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, exists, func, select, text, update
from sqlalchemy.orm import Session, aliased, joinedload

from db.models import Cause, Deployment, Quarantine, Release, State, Status
from db.session import notify


class Overtaken(Exception):
    """Somebody decided for this model, or something else went live, since the decider looked."""


class Refused(Exception):
    """The decision cannot be made; the text says why, for the person who asked."""


@dataclass(frozen=True)
class Seen:
    """What a decider knew of a model's deployments: their ids, None where there was none."""

    newest: int | None  # of any state
    standing: int | None


def lock(session: Session, model: str) -> None:
    """One decision at a time for a model, until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('deployments'), hashtext(:m))"), {"m": model})


def look(session: Session, model: str) -> Seen:
    """The newest decision of any state and the one that stands, as they are now."""
    newest = session.scalar(select(func.max(Deployment.id)).where(Deployment.model == model))
    stands = standing(session, model)
    return Seen(newest, stands.id if stands else None)


def decide(
    session: Session,
    model: str,
    release_id: int,
    cause: Cause,
    *,
    who: str,
    why: str | None,
    seen: Seen | None,
) -> Deployment:
    """Want `release_id` live; `Overtaken` when `seen` (None: never mind) is no longer what is so."""
    lock(session, model)
    if seen is not None and look(session, model) != seen:
        raise Overtaken
    made = Deployment(model=model, release_id=release_id, cause=cause, who=who, why=why)
    return _want(session, made)


def _want(session: Session, made: Deployment) -> Deployment:
    """Make a decision, which overrules the one that is still to be followed; the caller holds the lock."""
    _end(
        session,
        Deployment.model == made.model,
        State.OVERRULED,
        "a newer decision was made before it was live",
    )
    made.state = State.WANTED
    session.add(made)
    session.flush()
    notify(session, "deployments", made.model)
    return made


def _end(session: Session, which: ColumnElement[bool], state: State, reason: str) -> bool:
    """End what is wanted without its having been live; whether there was any."""
    ended = update(Deployment).where(which, Deployment.state == State.WANTED)
    return (
        session.execute(ended.values(state=state, reason=reason).returning(Deployment.id)).first() is not None
    )


def deploy(
    session: Session, release: Release, *, who: str, why: str | None, cause: Cause = Cause.OPERATOR
) -> Deployment:
    """A person's decision for a release that was built; it ends its commit's quarantine.

    Raises `Refused` for a release that has nothing to serve.
    """
    lock(session, release.model)
    session.refresh(release)
    if release.status not in (Status.DEPLOYED, Status.PASSED):
        raise Refused(
            f"release {release.id} is {release.status}: only one that passed the gate can be deployed"
        )
    if release.pruned_at is not None:
        raise Refused(f"the trained model of release {release.id} was pruned: train it again")
    session.execute(
        update(Quarantine)
        .where(Quarantine.model == release.model, Quarantine.commit == release.commit)
        .where(Quarantine.ended_at.is_(None))
        .values(ended_at=func.now())
    )
    if release.status is Status.PASSED:
        release.status, release.reason = Status.DEPLOYED, None
    return decide(session, release.model, release.id, cause, who=who, why=why, seen=None)


def roll_back(session: Session, model: str, *, cause: Cause, who: str, why: str | None) -> Deployment:
    """Want the newest once-live release before the live one.

    When that is live, and not before, the commit that is left goes into quarantine, and what is queued or
    being built at this moment stops at `passed`. A target that cannot start is left for the next older one.
    Raises `Refused` when there is nothing to go back to.
    """
    lock(session, model)
    left = live(session, model)
    if left is None:
        raise Refused(f"nothing of {model} is live: there is nothing to roll back")
    target = back(session, left)
    if target is None:
        raise Refused(f"no other release of {model} was live before and can be again: merge a mend instead")
    newest = session.scalar(select(func.max(Release.id)).where(Release.model == model))
    made = Deployment(model=model, release_id=target.id, cause=cause, who=who, why=why)
    made.leaves, made.holds_until = left.id, newest
    return _want(session, made)


def is_held(session: Session, release: Release) -> bool:
    """Whether a rollback that is on its way stops this release when it is live; the caller holds the lock."""
    newest = wanted(session, release.model)
    return newest is not None and newest.holds_until is not None and release.id <= newest.holds_until


def withdraw(session: Session, deployment: Deployment, why: str) -> Deployment | None:
    """Roll back by itself what is live; None when somebody has decided since. Raises `Refused`."""
    lock(session, deployment.model)
    current = live(session, deployment.model)
    if current is None or current.id != deployment.id or wanted(session, deployment.model) is not None:
        return None
    return roll_back(session, deployment.model, cause=Cause.AUTOMATIC_ROLLBACK, who="slipway", why=why)


def is_first(session: Session, deployment: Deployment) -> bool:
    """Whether no earlier deployment has brought this release to users."""
    brought = (Deployment.release_id == deployment.release_id) & Deployment.live_at.is_not(None)
    return not session.scalar(select(exists().where(brought, Deployment.id < deployment.id)))


def before(session: Session, left: Deployment) -> Release | None:
    """The newest once-live release before the deployment `left`: not pruned, its commit not in quarantine."""
    return session.scalar(_before(left))


def back(session: Session, left: Deployment, tried: Release | None = None) -> Release | None:
    """What a rollback of `left` goes to, when `tried` cannot start where that is given; or None."""
    return session.scalar(_before(left, tried).where(Release.commit != left.release.commit))


def _before(left: Deployment, tried: Release | None = None) -> Select[Release]:
    quarantined = select(Quarantine.commit).where(
        Quarantine.model == left.model, Quarantine.ended_at.is_(None)
    )
    found = (
        select(Release)
        .join(Deployment, Deployment.release_id == Release.id)
        .where(Deployment.model == left.model, Deployment.live_at.is_not(None), Deployment.id < left.id)
        .where(Release.id != left.release_id, Release.pruned_at.is_(None))
        .where(Release.commit.not_in(quarantined))
        .order_by(Deployment.id.desc())
        .limit(1)
    )
    if tried is None:
        return found
    again = aliased(Deployment)  # a release has its place by the last time it was live
    was_live = again.live_at.is_not(None) & (again.id < left.id)
    last_of_tried = select(func.max(again.id)).where(again.release_id == tried.id, was_live).scalar_subquery()
    later = exists().where(again.release_id == Release.id, again.id > Deployment.id, was_live)
    return found.where(Deployment.id < last_of_tried, ~later)


def ends(session: Session, release: int) -> dict[int, datetime | None]:
    """When each deployment of a release that was live gave its place to the next; None while it has it."""
    later = aliased(Deployment)
    end = (
        select(func.min(later.live_at))
        .where(later.model == Deployment.model, later.id > Deployment.id, later.live_at.is_not(None))
        .scalar_subquery()
    )
    was_live = (Deployment.release_id == release) & Deployment.live_at.is_not(None)
    return {
        row.id: row.end for row in session.execute(select(Deployment.id, end.label("end")).where(was_live))
    }


def earlier(session: Session, live: Sequence[int]) -> dict[str, Release]:
    """What users got just before each of these live releases, by model: before in time, not in number."""
    present = (
        select(Deployment.model, func.max(Deployment.id).label("id"))
        .where(Deployment.release_id.in_(live), Deployment.state == State.LIVE)
        .group_by(Deployment.model)
        .subquery()
    )
    older = aliased(Deployment)
    newest = select(
        select(older.id)
        .where(older.model == present.c.model, older.id < present.c.id)
        .where(older.live_at.is_not(None), older.release_id.not_in(live))
        .order_by(older.id.desc())
        .limit(1)
        .scalar_subquery()
    ).select_from(present)
    rows = session.scalars(
        select(Release).join(Deployment, Deployment.release_id == Release.id).where(Deployment.id.in_(newest))
    )
    return {release.model: release for release in rows}


def live(session: Session, model: str) -> Deployment | None:
    """What users get: the newest deployment that reached `live`, with its release."""
    return session.scalar(
        select(Deployment)
        .where(Deployment.model == model, Deployment.state == State.LIVE)
        .options(joinedload(Deployment.release))
        .order_by(Deployment.id.desc())
        .limit(1)
    )


def wanted(session: Session, model: str) -> Deployment | None:
    """The newest decision, where it is still to be followed, with its release."""
    is_live = select(func.coalesce(func.max(Deployment.id), 0)).where(
        Deployment.model == model, Deployment.state == State.LIVE
    )
    return session.scalar(
        select(Deployment)
        .where(Deployment.model == model, Deployment.state == State.WANTED)
        .where(Deployment.id > is_live.scalar_subquery())
        .options(joinedload(Deployment.release))
        .order_by(Deployment.id.desc())
        .limit(1)
    )


def standing(session: Session, model: str) -> Deployment | None:
    """What a new release is held against, with its release: what is wanted, else what is live."""
    return wanted(session, model) or live(session, model)


def went_live(session: Session, deployment: Deployment) -> datetime | None:
    """Write down that users get it from now on; gives since when, None where it was overruled meanwhile.

    What is live already may be said again. A rollback becomes true with this.
    """
    lock(session, deployment.model)
    known = session.get_one(Deployment, deployment.id, populate_existing=True)
    if known.state is State.WANTED:
        known.state, known.live_at, known.reason = State.LIVE, func.clock_timestamp(), None
        session.flush()
        if known.leaves is not None:
            _leave(
                session,
                known,
                session.get_one(Deployment, known.leaves, options=[joinedload(Deployment.release)]),
            )
        notify(session, "live", known.model)
    newest = live(session, deployment.model)
    return newest.live_at if newest is not None and newest.id == deployment.id else None


def _leave(session: Session, rollback: Deployment, left: Deployment) -> None:
    """Put what was rolled back into quarantine, and hold what was on its way when that was decided."""
    session.add(
        Quarantine(model=left.model, commit=left.release.commit, release_id=left.release_id, why=rollback.why)
    )
    session.execute(
        update(Release)
        .where(Release.model == left.model, Release.id <= rollback.holds_until)
        .where(Release.status.in_((Status.QUEUED, Status.BUILDING)))
        .values(hold=f"release {left.release_id} was rolled back while it was on its way: deploy it by hand")
    )


def failed(session: Session, deployment: Deployment, reason: str) -> None:
    """Write down that it could not take the place, and why; what was live stays live.

    A rollback goes on to the next older release.
    """
    lock(session, deployment.model)
    known = session.get_one(
        Deployment, deployment.id, options=[joinedload(Deployment.release)], populate_existing=True
    )
    following = None
    if known.state is State.WANTED and known.leaves is not None:
        left = session.get_one(Deployment, known.leaves, options=[joinedload(Deployment.release)])
        following = back(session, left, tried=known.release)
    if following is not None:
        reason = f"{reason}; the rollback goes on to release {following.id}"
    if _end(session, Deployment.id == known.id, State.FAILED, reason) and following is not None:
        made = Deployment(model=known.model, release_id=following.id, cause=known.cause, who=known.who)
        made.why, made.leaves, made.holds_until = known.why, known.leaves, known.holds_until
        _want(session, made)
    notify(session, "live", known.model)


def of_releases(session: Session, release_ids: Sequence[int]) -> dict[int, Deployment]:
    """The newest deployment of each of these releases, by release."""
    rows = session.scalars(
        select(Deployment).where(Deployment.release_id.in_(release_ids)).order_by(Deployment.id)
    )
    return {row.release_id: row for row in rows}


def history(
    session: Session, model: str, *, release: int | None = None, limit: int = 50
) -> Sequence[Deployment]:
    """Deployments of a model, or of one release of it, newest first."""
    query = select(Deployment).where(Deployment.model == model).order_by(Deployment.id.desc()).limit(limit)
    if release is not None:
        query = query.where(Deployment.release_id == release)
    return session.scalars(query).all()


def quarantined(session: Session, model: str, commit: str) -> Quarantine | None:
    """Why and since when no rollback goes to this commit; None when one may."""
    return session.scalar(
        select(Quarantine)
        .where(Quarantine.model == model, Quarantine.commit == commit, Quarantine.ended_at.is_(None))
        .order_by(Quarantine.id.desc())
        .limit(1)
    )
