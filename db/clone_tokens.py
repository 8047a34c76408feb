"""Tokens that read the contents of one repository: `vcs` stores them, and only `watch` can read them."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import outbox
from db.session import notify
from db.vcs_models import CloneToken

MIN_SECONDS_LEFT = 60  # of a token that is used


def store_token(session: Session, repository: str, token: str, seconds: float) -> None:
    """Store a token that is valid for so many seconds, in place of the one before."""
    facts = {"token": token, "expires_at": func.clock_timestamp() + timedelta(seconds=seconds)}
    written = insert(CloneToken).values(repository=repository, **facts)
    session.execute(written.on_conflict_do_update(index_elements=[CloneToken.repository], set_=facts))


def find_token(session: Session, repository: str) -> str:
    """Return the repository's token; empty where there is none that is valid."""
    is_valid = CloneToken.expires_at > func.clock_timestamp() + timedelta(seconds=MIN_SECONDS_LEFT)
    chosen = select(CloneToken.token).where(CloneToken.repository == repository, is_valid)
    return session.scalar(chosen) or ""


def reject_token(session: Session, repository: str, token: str) -> None:
    """Delete a token that the git server does not accept, and have `vcs` store another one."""
    same = (CloneToken.repository == repository) & (CloneToken.token == token)
    if session.execute(delete(CloneToken).where(same).returning(CloneToken.repository)).first() is not None:
        notify(session, outbox.CHANNEL)


def list_repositories(session: Session) -> Sequence[str]:
    """Return the repositories that have a token, valid or not."""
    return session.scalars(select(CloneToken.repository)).all()


def delete_tokens(session: Session, kept: Collection[str] = ()) -> None:
    """Delete the tokens of repositories other than these."""
    session.execute(delete(CloneToken).where(CloneToken.repository.not_in(kept)))
