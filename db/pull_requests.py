"""Pull requests, the sync state of a repository, and accepted webhook deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import delete, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.vcs_models import Delivery, PullRequest, SyncState

PullRequestFilter = Literal["accepted", "open", "all"]


@dataclass(frozen=True)
class Accepted:
    """A pull request that was merged into the model's branch, at its merge commit."""

    repository: str
    number: int
    title: str | None
    author: str | None
    commit: str
    merged_at: datetime


def list_accepted(session: Session, repository: str, branch: str, limit: int) -> list[Accepted]:
    """Return the newest accepted pull requests of a branch, newest first."""
    rows = session.execute(
        text("""
            SELECT repository, number, title, user_login AS author, commit, merged_at
            FROM vcs.accepted_pull_requests
            WHERE repository = :repository AND branch = :branch
            ORDER BY merged_at DESC, number DESC
            LIMIT :limit
        """),
        {"repository": repository, "branch": branch, "limit": limit},
    )
    return [Accepted(**row) for row in rows.mappings()]


def is_merged(session: Session, repository: str, branch: str, number: int) -> bool:
    """Return whether a pull request was merged into a branch."""
    found = session.execute(
        text("""
            SELECT 1 FROM vcs.accepted_pull_requests
            WHERE repository = :repository AND branch = :branch AND number = :number
        """),
        {"repository": repository, "branch": branch, "number": number},
    )
    return found.first() is not None


def find_other_branch(session: Session, repository: str, branch: str) -> str | None:
    """Return a branch besides the followed one that a pull request was merged into; None if there is none."""
    found = session.execute(
        text("""
            SELECT branch FROM vcs.accepted_pull_requests
            WHERE repository = :repository AND branch <> :branch
            LIMIT 1
        """),
        {"repository": repository, "branch": branch},
    )
    return found.scalar_one_or_none()


def count_accepted(session: Session, repository: str, branch: str, since: str) -> int:
    """Count the pull requests merged into a branch at or after `since`, in Postgres's time syntax."""
    found = session.execute(
        text("""
            SELECT count(*) FROM vcs.accepted_pull_requests
            WHERE repository = :repository AND branch = :branch AND merged_at >= CAST(:since AS timestamptz)
        """),
        {"repository": repository, "branch": branch, "since": since},
    )
    return int(found.scalar_one())


def is_on_github(session: Session, repository: str) -> bool:
    """Return whether a repository is on GitHub: only there its pull requests have a repository with an id."""
    newest = select(PullRequest.base_repository_id).where(PullRequest.repository == repository)
    return session.scalar(newest.order_by(PullRequest.number.desc()).limit(1)) is not None


def digest_open(session: Session, repository: str, limit: int) -> str | None:
    """Return a digest of the newest open pull requests and their heads; None without any.

    A change of an older one is found by the controller's next poll.
    """
    found = session.execute(
        text("""
            SELECT md5(string_agg(concat_ws(' ', number, base_ref, head_sha, draft), ',' ORDER BY number))
            FROM (
                SELECT number, base_ref, head_sha, draft FROM vcs.pull_requests
                WHERE _sdc_repository = :repository AND state = 'open'
                ORDER BY number DESC LIMIT :limit
            ) newest
        """),
        {"repository": repository, "limit": limit},
    )
    digest: str | None = found.scalar_one()
    return digest


def list_pull_requests(
    session: Session,
    repository: str,
    branch: str,
    which: PullRequestFilter,
    *,
    limit: int,
    before: int | None = None,
) -> Sequence[PullRequest]:
    """Return a repository's pull requests; accepted ones by their merge, others by number, newest first.

    With `before`, those after the pull request of that number; none when it is not found.
    """
    query = select(PullRequest).where(PullRequest.repository == repository)
    newest = PullRequest.number.desc()
    if which == "accepted":  # other branches of a git repository have the same numbers
        query = query.where(PullRequest.base_ref == branch, PullRequest.merged_at.is_not(None))
        query = query.where(PullRequest.merge_commit_sha.is_not(None))
    if before is not None:
        last = session.scalar(query.where(PullRequest.number == before))
        if last is None:
            return []
        query = query.where(
            tuple_(PullRequest.merged_at, PullRequest.number) < (last.merged_at, before)
            if which == "accepted"
            else PullRequest.number < before
        )
    match which:
        case "accepted":
            query = query.order_by(PullRequest.merged_at.desc(), newest)
        case "open":
            query = query.where(PullRequest.state == "open").order_by(newest)
        case "all":
            query = query.order_by(newest)
    return session.scalars(query.limit(limit)).all()


def load_state(session: Session, repository: str) -> dict[str, Any] | None:
    """Return a repository's sync state, None before its first complete sync."""
    row = session.get(SyncState, repository)
    return row.state if row else None


def read_clock(session: Session) -> float:
    """Return seconds since 1970 by the database's clock, to measure the age of times stored there."""
    return float(session.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())


def save_state(session: Session, repository: str, state: dict[str, Any]) -> None:
    statement = insert(SyncState).values(repository=repository, state=state)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["repository"], set_={"state": state, "updated_at": func.now()}
        )
    )


def has_unsynced_delivery(session: Session, repositories: Sequence[str]) -> bool:
    """Return whether a delivery has come since the last successful sync of one of the repositories."""
    newest = session.scalar(select(func.max(Delivery.received_at)))
    if newest is None:
        return False
    query = select(SyncState.repository).where(SyncState.repository.in_(repositories))
    up_to_date = session.scalars(query.where(SyncState.updated_at > newest)).all()
    return set(up_to_date) != set(repositories)


def record_delivery(session: Session, delivery: str, retention_days: int = 30) -> bool:
    """Return True the first time a delivery id is seen; delete those older than `retention_days`.

    Each statement waits for two seconds at most: the caller has to respond at once.
    """
    session.execute(text("SET LOCAL statement_timeout = 2000"))
    session.execute(
        delete(Delivery).where(
            Delivery.received_at < func.now() - text(f"interval '{int(retention_days)} days'")
        )
    )
    taken = session.execute(
        insert(Delivery).values(id=delivery).on_conflict_do_nothing().returning(Delivery.id)
    )
    return taken.scalar() is not None
