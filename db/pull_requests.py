"""Pull requests, how far the sync of a repository has come, and which webhook deliveries were taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import delete, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import Delivery, PullRequest, SyncState

Which = Literal["accepted", "open", "all"]


@dataclass(frozen=True)
class Accepted:
    """A pull request that was merged into the model's branch, at its merge commit."""

    repository: str
    number: int
    title: str | None
    author: str | None
    commit: str
    merged_at: datetime


def accepted(session: Session, repository: str, branch: str, limit: int) -> list[Accepted]:
    """The newest accepted pull requests of a branch, newest first."""
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


def count_accepted(session: Session, repository: str, branch: str) -> int:
    found = session.execute(
        text("""
            SELECT count(*) FROM vcs.accepted_pull_requests
            WHERE repository = :repository AND branch = :branch
        """),
        {"repository": repository, "branch": branch},
    )
    return int(found.scalar_one())


def listed(
    session: Session, repository: str, branch: str, which: Which, *, limit: int, before: int | None = None
) -> Sequence[PullRequest]:
    """What is known of a repository; the accepted ones by their merge, the others by number, newest first.

    With `before`, those that come after the pull request of that number; none when it is not known.
    """
    query = select(PullRequest).where(PullRequest.repository == repository)
    newest = PullRequest.number.desc()
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
            query = query.where(PullRequest.base_ref == branch, PullRequest.merged_at.is_not(None))
            query = query.where(PullRequest.merge_commit_sha.is_not(None))
            query = query.order_by(PullRequest.merged_at.desc(), newest)
        case "open":
            query = query.where(PullRequest.state == "open").order_by(newest)
        case "all":
            query = query.order_by(newest)
    return session.scalars(query.limit(limit)).all()


def state(session: Session, repository: str) -> dict[str, Any] | None:
    """How far the sync of a repository has come, None before its first whole one."""
    known = session.get(SyncState, repository)
    return known.state if known else None


def seconds(session: Session) -> float:
    """Seconds since 1970 by the database's clock, to measure how long something kept there is ago."""
    return float(session.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())


def save_state(session: Session, repository: str, state: dict[str, Any]) -> None:
    statement = insert(SyncState).values(repository=repository, state=state)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["repository"], set_={"state": state, "updated_at": func.now()}
        )
    )


def has_untaken_delivery(session: Session, repositories: Sequence[str]) -> bool:
    """Whether a delivery has come since the last sync of one of the repositories that ended well."""
    newest = session.scalar(select(func.max(Delivery.received_at)))
    if newest is None:
        return False
    query = select(SyncState.repository).where(SyncState.repository.in_(repositories))
    up_to_date = session.scalars(query.where(SyncState.updated_at > newest)).all()
    return set(up_to_date) != set(repositories)


def take_delivery(session: Session, delivery: str, keep_days: int = 30) -> bool:
    """True the first time a delivery id is seen; forgets those older than `keep_days`.

    Each statement waits for two seconds at most: what is asked for is an answer at once.
    """
    session.execute(text("SET LOCAL statement_timeout = 2000"))
    session.execute(
        delete(Delivery).where(Delivery.received_at < func.now() - text(f"interval '{int(keep_days)} days'"))
    )
    taken = session.execute(
        insert(Delivery).values(id=delivery).on_conflict_do_nothing().returning(Delivery.id)
    )
    return taken.scalar() is not None
