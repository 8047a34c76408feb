"""What this database has followed: a demo and a real repository never share one."""

from datetime import datetime
from typing import Literal

from sqlalchemy import and_, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import Appliance

Mode = Literal["demo", "repository"]
Beside = Literal["github", "tracking"]  # what an appliance goes on without: GitHub, MLflow

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


def says(session: Session, of: Beside, trouble: str | None) -> bool:
    """Remember why `of` cannot be asked or told now, None: it can; whether that is news."""
    news = and_(Appliance.id == 1, getattr(Appliance, of).is_distinct_from(trouble))
    changed = update(Appliance).where(news).values({of: trouble})
    return session.scalar(changed.returning(Appliance.id)) is not None


def trouble(session: Session, of: Beside) -> str | None:
    """Why it cannot be asked or told now; None: it can."""
    found: str | None = session.scalar(select(getattr(Appliance, of)))
    return found


def looked(session: Session) -> None:
    """The look-out has looked."""
    session.execute(update(Appliance).values(looked_at=func.now()))


def looked_at(session: Session) -> datetime | None:
    """When it did last; None when it never has."""
    return session.scalar(select(Appliance.looked_at))
