"""What this database has followed: a demo and a real repository never share one."""

from datetime import datetime
from typing import Literal

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import Appliance

Mode = Literal["demo", "repository"]

CURES: dict[str, str] = {
    "demo": "this database belongs to the demo: give the repository another SLIPWAY_HOME or DATABASE_URL",
    "repository": "this database has followed a real repository and is not started as the demo: "
    "set SLIPWAY_REPOSITORY again, or give the demo another SLIPWAY_HOME or DATABASE_URL",
}


class Mismatch(Exception):
    """The database followed the other kind; the text is one line that says so and what to do."""


def follow(session: Session, mode: Mode) -> None:
    """Remember what this database follows from now on, or raise `Mismatch`."""
    session.execute(insert(Appliance).values(id=1, mode=mode).on_conflict_do_nothing())
    known = session.get_one(Appliance, 1).mode
    if known != mode:
        raise Mismatch(CURES[known])


def hears(session: Session, trouble: str | None) -> None:
    """Remember why GitHub is not heard; None: it is."""
    since = func.coalesce(Appliance.github_since, func.now()) if trouble else None
    session.execute(update(Appliance).values(github=trouble, github_since=since))


def deaf(session: Session) -> Appliance | None:
    """The appliance's row, when GitHub is not heard."""
    return session.scalar(select(Appliance).where(Appliance.github.is_not(None)))


def looked(session: Session) -> None:
    """The look-out has looked."""
    session.execute(update(Appliance).values(looked_at=func.now()))


def looked_at(session: Session) -> datetime | None:
    """When it did last; None when it never has."""
    return session.scalar(select(Appliance.looked_at))
