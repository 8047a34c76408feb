"""Decisions about what a model serves; whoever decides, decides here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, exists, func, select, text, update
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

    newest: int | None
    live: int | None


def lock(session: Session, model: str) -> None:
    """One decision at a time for a model, until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('deployments'), hashtext(:m))"), {"m": model})


def look(session: Session, model: str) -> Seen:
    """The newest decision of any state and the live one, as they are now."""
    of_model = select(func.max(Deployment.id)).where(Deployment.model == model)
    return Seen(session.scalar(of_model), session.scalar(of_model.where(Deployment.state == State.LIVE)))


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
    deployment = Deployment(
        model=model, release_id=release_id, cause=cause, who=who, why=why, state=State.WANTED
    )
    session.add(deployment)
    session.flush()
    notify(session, "deployments", model)
    return deployment


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
    """Want the newest once-live release before the live one; the commit that is left goes into quarantine.

    What is queued or being built at this moment will stop at `passed`. Raises `Refused` when there is nothing
    to go back to.
    """
    lock(session, model)
    left = live(session, model)
    if left is None:
        raise Refused(f"nothing of {model} is live: there is nothing to roll back")
    session.add(Quarantine(model=model, commit=left.release.commit, release_id=left.release_id, why=why))
    session.flush()
    target = back(session, left)
    if target is None:
        raise Refused(f"no other release of {model} was live before and can be again: merge a mend instead")
    session.execute(
        update(Release)
        .where(Release.model == model, Release.status.in_((Status.QUEUED, Status.BUILDING)))
        .values(hold=f"release {left.release_id} was rolled back while it was on its way: deploy it by hand")
    )
    return decide(session, model, target.id, cause, who=who, why=why, seen=None)


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


def back(session: Session, left: Deployment) -> Release | None:
    """What a rollback of `left` goes to, which comes with its release; None where it would be refused."""
    return session.scalar(_before(left).where(Release.commit != left.release.commit))


def _before(left: Deployment) -> Select[Release]:
    quarantined = select(Quarantine.commit).where(
        Quarantine.model == left.model, Quarantine.ended_at.is_(None)
    )
    return (
        select(Release)
        .join(Deployment, Deployment.release_id == Release.id)
        .where(Deployment.model == left.model, Deployment.live_at.is_not(None), Deployment.id < left.id)
        .where(Release.id != left.release_id, Release.pruned_at.is_(None))
        .where(Release.commit.not_in(quarantined))
        .order_by(Deployment.id.desc())
        .limit(1)
    )


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
    newest = select(
        select(Deployment.id)
        .where(Deployment.model == present.c.model, Deployment.id < present.c.id)
        .where(Deployment.live_at.is_not(None), Deployment.release_id.not_in(live))
        .order_by(Deployment.id.desc())
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
    """The newest deployment that is neither live nor failed and newer than what is live, with its release."""
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


def went_live(session: Session, deployment: Deployment) -> None:
    """Say back that users get it now; older wishes that were not tried have failed with it."""
    lock(session, deployment.model)
    session.execute(
        update(Deployment)
        .where(Deployment.id == deployment.id, Deployment.state == State.WANTED)
        .values(state=State.LIVE, live_at=func.clock_timestamp(), reason=None)
    )
    session.execute(
        update(Deployment)
        .where(
            Deployment.model == deployment.model,
            Deployment.id < deployment.id,
            Deployment.state == State.WANTED,
        )
        .values(state=State.FAILED, reason="a newer decision was made before it was tried")
    )
    notify(session, "live", deployment.model)


def failed(session: Session, deployment: Deployment, reason: str) -> None:
    """Say back that it could not take the place, and why; what was live stays live."""
    session.execute(
        update(Deployment)
        .where(Deployment.id == deployment.id, Deployment.state == State.WANTED)
        .values(state=State.FAILED, reason=reason)
    )
    notify(session, "live", deployment.model)


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
