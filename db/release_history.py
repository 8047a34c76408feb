"""Releases as a list that people page through and search, by key: a page costs the same anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import Session, defer

from db.models import Deployment, Release
from db.states import DeploymentState, Status

MAX_ID = 2**31 - 1
MAX_TEXT_CHARS = 200  # to search for: Postgres scans all of them again for each row
LIVE, NOT_STARTED = "live", "failed to start"
STATES = (LIVE, NOT_STARTED, *(status for status in Status if status is not Status.UNKNOWN))


@dataclass(frozen=True)
class ReleaseSearch:
    """The releases to list; an empty or None filter excludes none."""

    model: str = ""
    state: str = ""  # one of STATES
    text: str = ""  # in its title, author, reason or reference; its commit; #12: its pull request
    before: int | None = None  # only releases older than this one; both at most MAX_ID
    after: int | None = None  # only releases newer than this one


@dataclass(frozen=True)
class ReleasePage:
    """Releases, newest first; `older` and `newer` are the adjacent pages' keys, None where there is none."""

    releases: Sequence[Release]
    older: int | None
    newer: int | None


def find_page(session: Session, search: ReleaseSearch, limit: int) -> ReleasePage:
    """Return the page of `search`, without long columns that no list shows."""
    long = (defer(Release.lock, raiseload=True), defer(Release.differences, raiseload=True))
    fits = [*_build_conditions(search)]
    query = select(Release).options(*long).where(*fits).limit(limit)
    if search.after is not None:
        found = session.scalars(query.where(Release.id > search.after).order_by(Release.id)).all()[::-1]
    else:
        older = query if search.before is None else query.where(Release.id < search.before)
        found = session.scalars(older.order_by(Release.id.desc())).all()
    if not found:
        return ReleasePage(found, None, None)
    has_older = session.scalar(select(exists().where(*fits, Release.id < found[-1].id)))
    has_newer = session.scalar(select(exists().where(*fits, Release.id > found[0].id)))
    return ReleasePage(found, found[-1].id if has_older else None, found[0].id if has_newer else None)


def _build_conditions(search: ReleaseSearch) -> list[ColumnElement[bool]]:
    conditions = []
    if search.model:
        conditions.append(Release.model == search.model)
    if search.state == LIVE:
        conditions.append(_is_live())
    elif search.state == NOT_STARTED:
        conditions.append(_has_failed_to_start())
    elif search.state:
        conditions.append(Release.status == search.state)
    if search.text:
        conditions.append(_matches_text(search.text))
    return conditions


def _is_live() -> ColumnElement[bool]:
    """Match releases of the newest live deployment of their model."""
    newest = (
        select(func.max(Deployment.id))
        .where(Deployment.state == DeploymentState.LIVE)
        .group_by(Deployment.model)
    )
    return Release.id.in_(select(Deployment.release_id).where(Deployment.id.in_(newest)))


def _has_failed_to_start() -> ColumnElement[bool]:
    """Match releases whose newest deployment failed."""
    newest = (
        select(Deployment.state)
        .where(Deployment.release_id == Release.id)
        .order_by(Deployment.id.desc())
        .limit(1)
    )
    return newest.scalar_subquery() == DeploymentState.FAILED


def _matches_text(text: str) -> ColumnElement[bool]:
    if text.startswith("#") and text[1:].isdecimal():
        return Release.pull_request == min(int(text[1:20]), MAX_ID)
    searched = (Release.title, Release.author, Release.reason, Release.ref, Release.requested_by)
    return or_(
        Release.commit.startswith(text.lower(), autoescape=True),
        *(column.icontains(text, autoescape=True) for column in searched),
    )


def find_models(session: Session) -> Sequence[str]:
    """Return every model that has a release, by name."""
    return session.scalars(select(Release.model).distinct().order_by(Release.model)).all()


def find_neighbours(session: Session, release: Release) -> tuple[int | None, int | None]:
    """Return the releases of the same model before and after this one, None where there is none."""
    of_model = select(Release.id).where(Release.model == release.model)
    previous = of_model.where(Release.id < release.id).order_by(Release.id.desc()).limit(1)
    following = of_model.where(Release.id > release.id).order_by(Release.id).limit(1)
    return session.scalar(previous), session.scalar(following)
