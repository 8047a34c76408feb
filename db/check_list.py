"""The list of a model's open pull requests, each with its check: as many queries for one as for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import checks, releases
from db.checks import NOBODY, OpenPullRequest, Trust
from db.models import Release
from db.states import CHANGE_TRIGGERS, Status


@dataclass(frozen=True)
class Change:
    """The newest change of a model's branch that has a release."""

    commit: str
    created_at: datetime


@dataclass(frozen=True)
class PredictionCounts:
    changed: int
    compared: int


@dataclass(frozen=True)
class ListedPullRequest:
    """An open pull request; `check` is the newest one of its head, None while that has none."""

    pull: OpenPullRequest
    check: Release | None
    needs_approval: bool
    is_outdated: bool
    stage: str | None  # of a check that is being built
    predictions: PredictionCounts | None  # None: they were not compared


def list_pull_requests(
    session: Session, model: str, repository: str, branch: str, trust: Trust = NOBODY
) -> list[ListedPullRequest]:
    """Return the open pull requests into a model's branch with their checks, newest first."""
    pulls = checks.list_open(session, repository, branch)
    newest = checks.find_newest(session, model, [pull.number for pull in pulls])
    approved = checks.list_approved(session, model)
    of_head = {
        pull.number: newest[pull.number]
        for pull in pulls
        if pull.number in newest and newest[pull.number].commit == pull.head
    }
    building = [check.id for check in of_head.values() if check.status is Status.BUILDING]
    stages = {
        stage.release_id: stage.name for stage in releases.find_newest_stages(session, building).values()
    }
    counts = count_changed_predictions(session, [check.id for check in of_head.values()])
    change = find_newest_change(session, model)
    found = []
    for pull in pulls:
        check = of_head.get(pull.number)
        found.append(
            ListedPullRequest(
                pull,
                check,
                not pull.is_draft and checks.needs_approval(pull, trust, approved),
                check is not None and is_outdated(check, change),
                stages.get(check.id) if check else None,
                counts.get(check.id) if check else None,
            )
        )
    return found


def count_open(session: Session, repository: str, branch: str) -> int:
    """Count the open pull requests that `list_pull_requests` would return."""
    found = checks.select_open(repository, branch).limit(checks.MAX_OPEN).subquery()
    return session.scalar(select(func.count()).select_from(found)) or 0


def count_changed_predictions(session: Session, release_ids: Sequence[int]) -> dict[int, PredictionCounts]:
    """Return the counts of each of these releases whose predictions were compared."""
    changed, compared = Release.differences["changed"], Release.differences["compared"]
    has_counts = func.jsonb_typeof(changed) == "number"
    rows = session.execute(
        select(Release.id, changed, compared).where(Release.id.in_(release_ids), has_counts)
    )
    return {release_id: PredictionCounts(of, among) for release_id, of, among in rows}


def find_newest_change(session: Session, model: str) -> Change | None:
    """Return the newest change of a model's branch; None before the first."""
    row = session.execute(
        select(Release.commit, Release.created_at)
        .where(Release.model == model, Release.trigger.in_(CHANGE_TRIGGERS))
        .where(Release.position.is_not(None))
        .order_by(Release.position.desc())
        .limit(1)
    ).first()
    return Change(row.commit, row.created_at) if row else None


def is_outdated(check: Release, change: Change | None) -> bool:
    """Return whether the branch has moved on to `change` since a check was merged onto it."""
    if change is None or check.base is None or check.started_at is None:
        return False
    return change.commit != check.base and change.created_at > check.started_at
