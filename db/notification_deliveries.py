"""The deliveries of notifications: one row for each message and receiver, claimed by `vcs` alone."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Update, delete, exists, func, null, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.clock import has_come
from db.models import Appliance
from db.notification_models import Notification, NotificationDelivery
from db.states import DeliveryState

MAX_AHEAD = timedelta(hours=25)  # of a due time; later ones are of a clock that was set back since
RETRIED = timedelta(days=1)
KEPT = timedelta(days=30)
SHOWN_ATTEMPTS = 3  # failed ones until the overview has the reason
SHOWN = timedelta(days=1)  # on the overview, where nothing more is tried


@dataclass(frozen=True)
class DeliveryClaim:
    """A delivery that is due, with what it is about."""

    delivery: NotificationDelivery
    notification: Notification


def set_on(session: Session, receivers: Collection[str]) -> None:
    """Store whether anybody is to be told, and forget receivers that are not set any more."""
    nothing = {} if receivers else {"notifications": None}
    session.execute(update(Appliance).values(has_notifications=bool(receivers), **nothing))
    session.execute(delete(NotificationDelivery).where(NotificationDelivery.receiver.not_in(receivers)))
    if not receivers:
        session.execute(delete(Notification))


def begin_due(session: Session, receivers: Collection[str]) -> None:
    """Begin to deliver what has come due, to each of these receivers."""
    due = update(Notification).where(has_come(Notification.due_at, MAX_AHEAD))
    begun = session.scalars(
        due.values(due_at=null(), begun_at=func.now()).returning(Notification.message)
    ).all()
    rows = [{"message": message, "receiver": receiver} for message in begun for receiver in receivers]
    if rows:
        session.execute(insert(NotificationDelivery).values(rows).on_conflict_do_nothing())


def claim_due(session: Session, receivers: Collection[str], lease_seconds: float) -> DeliveryClaim | None:
    """Return the delivery to one of these receivers that is due longest, and defer it for the lease.

    What a newer event took the place of is not among them. Killed before it is settled, it is due again.
    """
    found = session.execute(
        select(NotificationDelivery, Notification)
        .join(Notification, Notification.message == NotificationDelivery.message)
        .where(NotificationDelivery.receiver.in_(receivers))
        .where(has_come(NotificationDelivery.due_at, MAX_AHEAD))
        .order_by(NotificationDelivery.due_at, Notification.occurred_at)
        .limit(1)
        .with_for_update(of=NotificationDelivery, skip_locked=True)
    ).first()
    if found is None:
        return None
    delivery, notification = found
    delivery.attempts += 1
    delivery.due_at = func.clock_timestamp() + timedelta(seconds=lease_seconds)
    session.flush()
    session.refresh(delivery)
    return DeliveryClaim(delivery, notification)


def find_seconds_until_due(session: Session, receivers: Collection[str]) -> float | None:
    """Return the seconds until something is due for one of these receivers; None when nothing is."""
    to_begin = select(func.min(Notification.due_at)).scalar_subquery()
    to_deliver = (
        select(func.min(NotificationDelivery.due_at))
        .join(Notification, Notification.message == NotificationDelivery.message)
        .where(NotificationDelivery.receiver.in_(receivers))
        .scalar_subquery()
    )
    next_due = func.least(to_begin, to_deliver) - func.clock_timestamp()
    found = session.scalar(select(func.extract("epoch", next_due)))
    return None if found is None else float(found)


def settle(
    session: Session, delivery: NotificationDelivery, state: DeliveryState, error: str | None = None
) -> None:
    """Record how a delivery ended: nothing more is tried."""
    session.execute(_update_one(delivery).values(state=state, due_at=null(), error=error))


def defer(session: Session, delivery: NotificationDelivery, seconds: float, error: str) -> bool:
    """Try again after a pause; return False, and give up, where that has gone on for a day."""
    is_young = NotificationDelivery.created_at > func.now() - RETRIED
    pause = min(timedelta(seconds=seconds), MAX_AHEAD)
    values = {"due_at": func.clock_timestamp() + pause, "error": error}
    deferred = _update_one(delivery).where(is_young).values(**values)
    if session.scalar(deferred.returning(NotificationDelivery.receiver)) is not None:
        return True
    settle(session, delivery, DeliveryState.EXPIRED, error)
    return False


def _update_one(delivery: NotificationDelivery) -> Update:
    return update(NotificationDelivery).where(
        NotificationDelivery.message == delivery.message, NotificationDelivery.receiver == delivery.receiver
    )


def list_gone(session: Session) -> set[str]:
    """Return the receivers that want no more messages."""
    gone = select(NotificationDelivery.receiver).where(NotificationDelivery.state == DeliveryState.GONE)
    return set(session.scalars(gone))


def list_errors(session: Session) -> Sequence[str]:
    """Return why receivers get nothing, or did not get something in several attempts: each reason once."""
    late = (NotificationDelivery.state == DeliveryState.PENDING) & (
        NotificationDelivery.attempts >= SHOWN_ATTEMPTS
    )
    is_current = exists().where(Notification.message == NotificationDelivery.message)
    given_up = (NotificationDelivery.state == DeliveryState.EXPIRED) & (
        NotificationDelivery.created_at > func.now() - RETRIED - SHOWN
    )
    gone = NotificationDelivery.state == DeliveryState.GONE
    errors = select(NotificationDelivery.error).where((late & is_current) | given_up | gone).distinct()
    return sorted(error for error in session.scalars(errors) if error)


def prune(session: Session) -> None:
    """Delete what was delivered long ago, but for what a receiver that is gone has answered."""
    is_old = NotificationDelivery.created_at < func.now() - KEPT
    is_gone = NotificationDelivery.state == DeliveryState.GONE
    session.execute(delete(NotificationDelivery).where(is_old, ~is_gone))
    is_delivered = Notification.due_at.is_(None) & (Notification.occurred_at < func.now() - KEPT)
    is_release = Notification.event.startswith("release.")
    session.execute(delete(Notification).where(is_delivered, is_release | Notification.ended_at.is_not(None)))
