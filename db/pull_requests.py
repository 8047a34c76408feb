"""Pull requests, how far the sync of a repository has come, and which webhook deliveries were taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import Delivery, PullRequest, SyncState


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


def recent(session: Session, repository: str, limit: int = 100) -> Sequence[PullRequest]:
    """What is known of a repository, newest number first."""
    return session.scalars(
        select(PullRequest)
        .where(PullRequest.repository == repository)
        .order_by(PullRequest.number.desc())
        .limit(limit)
    ).all()


def state(session: Session, repository: str) -> dict[str, Any] | None:
    """Singer's state of a repository, None before its first whole sync."""
    known = session.get(SyncState, repository)
    return known.state if known else None


def save_state(session: Session, repository: str, state: dict[str, Any]) -> None:
    statement = insert(SyncState).values(repository=repository, state=state)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["repository"], set_={"state": state, "updated_at": func.now()}
        )
    )


def take_delivery(session: Session, delivery: str, keep_days: int = 30) -> bool:
    """True the first time a delivery id is seen; forgets those older than `keep_days`."""
    session.execute(
        delete(Delivery).where(Delivery.received_at < func.now() - text(f"interval '{int(keep_days)} days'"))
    )
    taken = session.execute(
        insert(Delivery).values(id=delivery).on_conflict_do_nothing().returning(Delivery.id)
    )
    return taken.scalar() is not None
