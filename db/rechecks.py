"""Requests from GitHub to check a commit again: `vcs` stores them, the controller follows them once."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.session import notify
from db.vcs_models import RecheckRequest

MAX_AGE = timedelta(hours=1)  # of a request that is followed


def request_recheck(session: Session, repository: str, commit: str, model: str) -> None:
    """Have a commit checked again for a model; an equal request that waits is enough."""
    asked = insert(RecheckRequest).values(repository=repository, commit=commit, model=model)
    session.execute(asked.on_conflict_do_nothing())
    notify(session, "pull_requests")


def take_requests(session: Session, model: str) -> Sequence[tuple[str, str, bool]]:
    """Remove the requests of a model; return repository and commit of each, and whether it is followed.

    One that is too old is not.
    """
    taken = delete(RecheckRequest).where(RecheckRequest.model == model)
    is_new = RecheckRequest.requested_at > func.now() - MAX_AGE
    rows = session.execute(taken.returning(RecheckRequest.repository, RecheckRequest.commit, is_new))
    return [(repository, commit, is_followed) for repository, commit, is_followed in rows]
