"""What is newest: the one order of a model's merges and tags, kept with each release as its `position`.

What a person asked for has no position: it is neither older nor newer than anything.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Select, false, func, select
from sqlalchemy.orm import Session

from db.models import Deployment, Release, Trigger
from db.pull_requests import Accepted


def of_the_newest_second(merges: Sequence[Accepted]) -> list[str]:
    """Return the commits of `merges`, newest first, that were merged in the second of the newest.

    GitHub's times have no fractions: which of several is newest, the history of the branch alone knows.
    """
    return list(dict.fromkeys(merge.commit for merge in merges if merge.merged_at == merges[0].merged_at))


def in_order(merges: Sequence[Accepted], ancestors: Mapping[str, int]) -> list[Accepted]:
    """Return merges, newest first: by time, then by how many of the others are in a commit's history."""

    def place(merge: Accepted) -> tuple[datetime, int, int]:
        return merge.merged_at, ancestors.get(merge.commit, 0), merge.number

    return sorted(merges, key=place, reverse=True)


def next_position(session: Session, model: str) -> int:
    """Return the position of what is newer than all that is known; the caller holds `deployments.lock`."""
    newest = session.scalar(select(func.max(Release.position)).where(Release.model == model))
    return (newest or 0) + 1


def find_newer(session: Session, release: Release) -> Release | None:
    """Return the newest merge or tag after this one, whatever became of it."""
    return session.scalar(_newer(release))


def find_newer_decided(session: Session, release: Release) -> Release | None:
    """Return the newest merge or tag after this one for which a decision was made."""
    decided = select(Deployment.release_id).where(Deployment.model == release.model)
    return session.scalar(_newer(release).where(Release.id.in_(decided)))


def name(release: Release) -> str:
    """`#3 was merged`, or `v1.2 was tagged`."""
    if release.trigger is Trigger.TAG:
        return f"{release.ref} was tagged"
    return f"#{release.pull_request} was merged"


def _newer(release: Release) -> Select[Release]:
    after = Release.position > release.position if release.position is not None else false()
    newer = select(Release).where(Release.model == release.model, after)
    return newer.order_by(Release.position.desc()).limit(1)
