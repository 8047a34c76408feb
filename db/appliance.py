"""The kind of repository a database follows: a demo and a real repository never share a database."""

from datetime import timedelta
from typing import Literal

from sqlalchemy import and_, extract, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import notifications
from db.models import Appliance
from db.notifications import Event

Mode = Literal["demo", "repository"]
# what an appliance runs without: syncs from GitHub, deliveries to GitHub, MLflow, deliveries to people
Dependency = Literal["github", "outbox", "tracking", "notifications"]
UNREACHABLE_EVENTS = {"github": Event.GITHUB_UNREACHABLE, "tracking": Event.MLFLOW_UNREACHABLE}
UNREACHABLE_FOR = timedelta(hours=1)  # until people are told

MODE_HINTS: dict[str, str] = {
    "demo": "this database belongs to the demo: give the repository another SLIPWAY_HOME or DATABASE_URL",
    "repository": "this database has followed a real repository and is not started as the demo: "
    "set SLIPWAY_REPOSITORY again, or give the demo another SLIPWAY_HOME or DATABASE_URL",
}


class WrongDatabaseError(Exception):
    """A database that followed the other kind; the text says so and what to do, in one line."""


def set_mode(session: Session, mode: Mode) -> None:
    """Store the kind that this database follows from now on, or raise `WrongDatabaseError`."""
    session.execute(insert(Appliance).values(id=1, mode=mode).on_conflict_do_nothing())
    stored = session.get_one(Appliance, 1).mode
    if stored != mode:
        raise WrongDatabaseError(MODE_HINTS[stored])


def set_problem(session: Session, dependency: Dependency, problem: str | None) -> bool:
    """Store the dependency's problem, None for none; return whether it changed."""
    is_changed = and_(Appliance.id == 1, getattr(Appliance, dependency).is_distinct_from(problem))
    changed = update(Appliance).where(is_changed).values({dependency: problem})
    if session.scalar(changed.returning(Appliance.id)) is None:
        return False
    _tell_unreachable(session, dependency, problem)
    return True


def _tell_unreachable(session: Session, dependency: Dependency, problem: str | None) -> None:
    """Have people told of a problem that lasts; it is over where there is none."""
    event = UNREACHABLE_EVENTS.get(dependency)
    if event is not None and problem is None:
        notifications.end_state(session, event.value)
    elif event is not None:
        facts = {"problem": problem}
        notifications.begin_state(session, event, event.value, facts, lasting=UNREACHABLE_FOR)


def tell_known_problems(session: Session) -> None:
    """Have people told of problems that began before anybody was to be told."""
    for dependency in ("github", "tracking"):
        if (problem := find_problem(session, dependency)) is not None:
            _tell_unreachable(session, dependency, problem)


def find_problem(session: Session, dependency: Dependency) -> str | None:
    """Return why the dependency is unavailable now; None when it is available."""
    found: str | None = session.scalar(select(getattr(Appliance, dependency)))
    return found


def set_app(session: Session, *, is_set: bool) -> None:
    """Store whether GitHub is called as a GitHub App."""
    session.execute(update(Appliance).values(has_github_app=is_set))


def has_app(session: Session) -> bool:
    """Return whether GitHub is called as a GitHub App, and so gets check runs."""
    return bool(session.scalar(select(Appliance.has_github_app)))


def record_heartbeat(session: Session) -> None:
    """Record that the controller has just reconciled."""
    session.execute(update(Appliance).values(looked_at=func.now()))


def seconds_since_heartbeat(session: Session) -> float | None:
    """Return the age of the last heartbeat in seconds, by Postgres's clock; None when there was none."""
    return session.scalar(select(extract("epoch", func.clock_timestamp() - Appliance.looked_at)))
