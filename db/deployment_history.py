"""Deployments as pages list them: when each was live, what was live before, which failed."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from db.models import Deployment, Release
from db.states import DeploymentState


def find_live_until(session: Session, release: int) -> dict[int, datetime | None]:
    """Return when each once-live deployment of a release was replaced; None while it is live."""
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


def find_previously_live(session: Session, live: Sequence[int]) -> dict[str, Release]:
    """Return the release live just before each of these live ones, by model: before in time, not in id."""
    present = (
        select(Deployment.model, func.max(Deployment.id).label("id"))
        .where(Deployment.release_id.in_(live), Deployment.state == DeploymentState.LIVE)
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


def find_failed_starts(session: Session, releases: Sequence[Release]) -> dict[int, str]:
    """Return why releases that passed the gate could not start, by release."""
    newest = find_newest_by_release(session, [release.id for release in releases])
    return {number: d.reason or "" for number, d in newest.items() if d.state is DeploymentState.FAILED}


def find_newest_by_release(session: Session, release_ids: Sequence[int]) -> dict[int, Deployment]:
    """Return the newest deployment of each of these releases, by release."""
    rows = session.scalars(
        select(Deployment).where(Deployment.release_id.in_(release_ids)).order_by(Deployment.id)
    )
    return {row.release_id: row for row in rows}


def list_deployments(
    session: Session, model: str, *, release: int | None = None, limit: int = 50
) -> Sequence[Deployment]:
    """Return deployments of a model, or of one release of it, newest first."""
    query = select(Deployment).where(Deployment.model == model).order_by(Deployment.id.desc()).limit(limit)
    if release is not None:
        query = query.where(Deployment.release_id == release)
    return session.scalars(query).all()
