"""What a rollback goes to, and the quarantine of what it leaves."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased, load_only

from db.models import Deployment, Quarantine, Release


def find_target(session: Session, left: Deployment, tried: Release | None = None) -> Release | None:
    """Return the newest once-live release before `left`: not pruned, and not in quarantine.

    With `tried`, one that cannot start, the newest one past that. None where there is none.
    """
    return session.scalar(_select_earlier(left, tried))


def find_other_commit(session: Session, left: Deployment) -> Release | None:
    """Return the newest release of another commit that rollbacks from `left` come to; None without one."""
    return session.scalar(_select_earlier(left).where(Release.commit != left.release.commit))


def _select_earlier(left: Deployment, tried: Release | None = None) -> Select[Release]:
    found = (
        select(Release)
        .join(Deployment, Deployment.release_id == Release.id)
        .where(Deployment.model == left.model, Deployment.live_at.is_not(None), Deployment.id < left.id)
        .where(Release.id != left.release_id, ~_is_quarantined())
        .where(Release.model == left.model, Release.artifact.is_not(None), Release.pruned_at.is_(None))
        .order_by(Deployment.id.desc())
        .limit(1)
    )
    if tried is None:
        return found
    again = aliased(Deployment)  # a release is ordered by the last time it was live
    was_live = again.live_at.is_not(None) & (again.id < left.id)
    last_of_tried = select(func.max(again.id)).where(again.release_id == tried.id, was_live).scalar_subquery()
    later = exists().where(again.release_id == Release.id, again.id > Deployment.id, was_live)
    return found.where(Deployment.id < last_of_tried, ~later)


def _is_quarantined() -> ColumnElement[bool]:
    """Return the condition that a row of `Release` is in quarantine, alone or with its commit."""
    of_commit = and_(Quarantine.covers_commit, Quarantine.commit == Release.commit)
    covers = or_(of_commit, Quarantine.release_id == Release.id)
    return exists().where(Quarantine.model == Release.model, Quarantine.ended_at.is_(None), covers)


def quarantine(session: Session, left: Deployment, why: str | None) -> None:
    """Quarantine what was rolled back: a commit, or only the release where the commit was good before.

    It was where an earlier release of it was live, and was not rolled back.
    """
    earlier = (
        select(Release.id)
        .join(Deployment, Deployment.release_id == Release.id)
        .where(Deployment.model == left.model, Deployment.live_at.is_not(None), Deployment.id < left.id)
        .where(Release.id != left.release_id, Release.commit == left.release.commit, ~_is_quarantined())
    )
    made = Quarantine(model=left.model, commit=left.release.commit, release_id=left.release_id, why=why)
    made.covers_commit = not session.scalar(select(earlier.exists()))
    session.add(made)


def end_quarantine(session: Session, release: Release) -> None:
    """End a release's quarantine; that of its commit then covers only the release that was rolled back."""
    active = (
        update(Quarantine)
        .where(Quarantine.model == release.model, Quarantine.commit == release.commit)
        .where(Quarantine.ended_at.is_(None))
    )
    session.execute(active.where(Quarantine.release_id == release.id).values(ended_at=func.now()))
    session.execute(active.where(Quarantine.covers_commit).values(covers_commit=False))


def find_quarantine(session: Session, release: Release) -> Quarantine | None:
    """Return the quarantine that keeps rollbacks from a release; None when there is none."""
    of_commit = Quarantine.covers_commit & (Quarantine.commit == release.commit)
    covers = or_(of_commit, Quarantine.release_id == release.id)
    return session.scalar(_select_active(release.model).where(covers).limit(1))


def find_quarantine_of_commit(session: Session, model: str, commit: str) -> Quarantine | None:
    """Return the quarantine of a whole commit; None when there is none."""
    covers = Quarantine.covers_commit & (Quarantine.commit == commit)
    return session.scalar(_select_active(model).where(covers).limit(1))


def find_newest_of_commit(session: Session, model: str, commit: str) -> Quarantine | None:
    """Return the newest quarantine of a commit or of one of its releases; None when there is none."""
    return session.scalar(_select_active(model).where(Quarantine.commit == commit).limit(1))


def list_quarantined(session: Session, model: str, commit: str, limit: int) -> Sequence[Release]:
    """Return the newest releases of a commit that are in quarantine, with what they were trained on."""
    of_commit = _select_active(model).where(Quarantine.commit == commit).limit(limit).subquery()
    columns = load_only(Release.warm_start, Release.lock, Release.data, raiseload=True)
    found = select(Release).join(of_commit, of_commit.c.release_id == Release.id).options(columns)
    return session.scalars(found).all()


def _select_active(model: str) -> Select[Quarantine]:
    active = select(Quarantine).where(Quarantine.model == model, Quarantine.ended_at.is_(None))
    return active.order_by(Quarantine.id.desc())
