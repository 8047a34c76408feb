"""What people are told: the newest event of each subject, written in the transaction that causes it.

Call `put_event` for a thing that happened once, `begin_state` and `end_state` for one that lasts. `vcs`
delivers them to each receiver; nothing waits for that. Where no receiver is set, nothing is written. Texts
may come from models: `vcs` escapes and cuts them.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import case, func, null, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from common.text import make_json_storable, make_storable
from db.models import Appliance
from db.notification_models import Notification
from db.session import notify

CHANNEL = "notifications"
QUIET = timedelta(hours=1)  # between two messages about one state
MAX_FACT_CHARS = 2000  # of one text


class Event(StrEnum):
    """Name what happened: webhooks have these as their type, so they are public."""

    LIVE = "release.live"
    REJECTED = "release.rejected"
    FAILED = "release.failed"
    ROLLED_BACK = "release.rolled_back"
    RETRAINED = "release.retrained"
    NOTHING_LIVE = "model.nothing_live"
    DRIFT = "model.drift"
    DECAY = "model.decay"
    GITHUB_UNREACHABLE = "github.unreachable"
    MLFLOW_UNREACHABLE = "mlflow.unreachable"
    DISK_NEARLY_FULL = "disk.nearly_full"
    TEST = "notification.test"


def are_on(session: Session) -> bool:
    """Return whether anybody is to be told."""
    return bool(session.scalar(select(Appliance.has_notifications)))


def put_event(session: Session, event: Event, subject: str, facts: dict[str, Any]) -> None:
    """Have people told of a thing that happened; one about the same subject that was not delivered is not."""
    if not are_on(session):
        return
    old = Notification
    new = insert(old).values(subject=subject, event=event.value, facts=bound_facts(facts))
    session.execute(
        new.on_conflict_do_update(
            index_elements=[old.subject],
            set_={
                "event": new.excluded.event,
                "facts": new.excluded.facts,
                "message": func.gen_random_uuid(),
                "occurred_at": func.now(),
                "due_at": func.now(),
            },
        )
    )
    notify(session, CHANNEL)


def withdraw(session: Session, subject: str) -> None:
    """Have nobody told what was not delivered about a subject: it is not true any more."""
    change = update(Notification).where(Notification.subject == subject)
    session.execute(change.values(message=func.gen_random_uuid(), due_at=null()))


def begin_state(
    session: Session, event: Event, subject: str, facts: dict[str, Any], *, lasting: timedelta = timedelta()
) -> None:
    """Have people told once of a state that begins, if it lasts so long; while it lasts, only facts change.

    One that begins again is told at the earliest `QUIET` after the last time.
    """
    if not are_on(session):
        return
    old = Notification
    new = insert(old).values(
        subject=subject, event=event.value, facts=bound_facts(facts), due_at=func.now() + lasting
    )
    begins = old.ended_at.is_not(None)
    written = new.on_conflict_do_update(
        index_elements=[old.subject],
        set_={
            "facts": new.excluded.facts,
            "message": case((begins, func.gen_random_uuid()), else_=old.message),
            "occurred_at": case((begins, func.now()), else_=old.occurred_at),
            "due_at": case(
                (begins, func.greatest(func.now() + lasting, old.begun_at + QUIET)), else_=old.due_at
            ),
            "ended_at": null(),
        },
        where=begins | old.facts.is_distinct_from(new.excluded.facts),
    )
    if session.execute(written.returning(old.subject)).first() is not None:
        notify(session, CHANNEL)


def end_state(session: Session, subject: str) -> None:
    """End a state, if it lasts: nobody is told of it where nobody was to be told yet."""
    change = update(Notification).where(Notification.subject == subject, Notification.ended_at.is_(None))
    session.execute(change.values(ended_at=func.now(), due_at=null()))


def bound_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts that Postgres can store, with texts of a bounded length."""
    bounded = {
        name: make_storable(value, MAX_FACT_CHARS) if isinstance(value, str) else value
        for name, value in facts.items()
    }
    found: dict[str, Any] = make_json_storable(bounded)
    return found
