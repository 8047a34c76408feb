"""The order of a model's merges, pushes and tags, stored as each release's `position`.

A release requested by hand has no position: it is neither older nor newer than any other.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from packaging.version import InvalidVersion, Version
from sqlalchemy import Select, false, func, select
from sqlalchemy.orm import Session

from db.models import Deployment, Release
from db.pull_requests import Accepted
from db.states import Trigger

NO_VERSION = Version("0.dev0")  # the lowest


def parse_version(tag: str) -> Version:
    """Return the PEP 440 version of a tag; an invalid one is older than any."""
    try:
        return Version(tag)
    except InvalidVersion:
        return NO_VERSION


def commits_of_newest_second(merges: Sequence[Accepted]) -> list[str]:
    """Return the commits of `merges`, newest first, that were merged in the same second as the newest.

    GitHub's times have no fractions: only the branch's history shows which of several is newest.
    """
    return list(dict.fromkeys(merge.commit for merge in merges if merge.merged_at == merges[0].merged_at))


def sort_merges(merges: Sequence[Accepted], ancestors: Mapping[str, int]) -> list[Accepted]:
    """Return merges, newest first: by time, then by how many of the others are in a commit's history."""

    def place(merge: Accepted) -> tuple[datetime, int, int]:
        return merge.merged_at, ancestors.get(merge.commit, 0), merge.number

    return sorted(merges, key=place, reverse=True)


def next_position(session: Session, model: str) -> int:
    """Return the position after all others of the model; the caller holds `deployments.lock_model`."""
    newest = session.scalar(select(func.max(Release.position)).where(Release.model == model))
    return (newest or 0) + 1


def find_newer(session: Session, release: Release) -> Release | None:
    """Return the newest merge or tag after this one, whatever its outcome."""
    return session.scalar(_select_newer(release))


def find_newer_decided(session: Session, release: Release) -> Release | None:
    """Return the newest merge or tag after this one for which a decision was made."""
    decided = select(Deployment.release_id).where(Deployment.model == release.model)
    return session.scalar(_select_newer(release).where(Release.id.in_(decided)))


def describe_arrival(release: Release) -> str:
    """Describe a release's trigger: `#3 was merged`, `c0ffee12 was pushed`, or `v1.2 was tagged`."""
    if release.trigger is Trigger.TAG:
        return f"{release.ref} was tagged"
    if release.trigger is Trigger.PUSH:
        return f"{release.commit[:8]} was pushed"
    return f"#{release.pull_request} was merged"


def _select_newer(release: Release) -> Select[Release]:
    """Select newer releases; for a tag, only merges released themselves: else the next tag does so."""
    after = Release.position > release.position if release.position is not None else false()
    newer = select(Release).where(Release.model == release.model, after)
    if release.trigger is Trigger.TAG:
        newer = newer.where((Release.trigger == Trigger.TAG) | Release.release_on.in_(("merge", "push")))
    return newer.order_by(Release.position.desc()).limit(1)
