"""The cooldown and the weekly budget of a model's retrainings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from db.models import Quarantine
from db.retraining_models import Retraining
from db.retrainings import MAX_AHEAD
from ml.retrain_section import RetrainSection

WEEK = timedelta(days=7)
MIN_ROLLBACK_COOLDOWN = timedelta(days=1)


@dataclass(frozen=True)
class LimitReached:
    """A limit that holds a retraining back, as a sentence, and until when."""

    reason: str
    until: datetime


def begun_since(section: RetrainSection, now: datetime) -> datetime:
    """Return the time after which retrainings matter to the limits, and an hour more for a clock's change."""
    return now - max(WEEK, timedelta(seconds=section.cooldown)) - timedelta(hours=2)


def find_limit(
    begun: Sequence[Retraining], section: RetrainSection, due_at: datetime, now: datetime
) -> LimitReached | None:
    """Return what holds back a retraining that was due at `due_at`; None where it may begin.

    `begun` are earlier ones, newest first. A daily schedule keeps a cooldown of a day also when a day has
    23 hours, and although each begins some seconds later than it is due.
    """
    zone, cooldown = ZoneInfo(section.timezone), timedelta(seconds=section.cooldown)
    if begun and not has_passed(begun[0], due_at, now, cooldown, zone):
        until = counted_from(begun[0]) + cooldown
        return LimitReached(f"the cooldown lasts until {until:%Y-%m-%d %H:%M} UTC", until)
    counted = list_counted(begun, due_at, now, zone)
    if len(counted) < section.budget:
        return None
    until = counted_from(counted[section.budget - 1]) + WEEK
    many = f"the budget of {section.budget} a week is used up"
    return LimitReached(f"{many}: the next is possible at {until:%Y-%m-%d %H:%M} UTC", until)


def find_rollback_limit(
    rolled_back: Quarantine | None, section: RetrainSection, now: datetime
) -> LimitReached | None:
    """Return what holds back the retrainings of a commit after one of its releases was rolled back.

    The cooldown begins with the rollback then, and is a day at least: else a schedule of every minute would
    put one bad release after the other live. A rollback far ahead is of a clock that was wrong.
    """
    if rolled_back is None or rolled_back.since > now + MAX_AHEAD:
        return None
    until = rolled_back.since + max(timedelta(seconds=section.cooldown), MIN_ROLLBACK_COOLDOWN)
    if now >= until:
        return None
    many = f"release {rolled_back.release_id} of this commit was rolled back"
    return LimitReached(f"{many}: the next is possible at {until:%Y-%m-%d %H:%M} UTC", until)


def list_counted(
    begun: Sequence[Retraining], due_at: datetime, now: datetime, zone: ZoneInfo
) -> list[Retraining]:
    """Return those of the last week that count: what made no release costs nothing."""
    made = [one for one in begun if one.release_id is not None or one.ended_at is None]
    return [one for one in made if not has_passed(one, due_at, now, WEEK, zone)]


def count_left(begun: Sequence[Retraining], section: RetrainSection, now: datetime) -> int:
    """Return how many more retrainings this week's budget has."""
    return max(0, section.budget - len(list_counted(begun, now, now, ZoneInfo(section.timezone))))


def has_passed(one: Retraining, due_at: datetime, now: datetime, pause: timedelta, zone: ZoneInfo) -> bool:
    """Return whether `pause` has passed since a retraining; a change of the clocks may shorten it."""
    start = counted_from(one)
    return now >= start + pause or due_at >= start + pause - find_clock_change(start, due_at, zone)


def find_clock_change(start: datetime, end: datetime, zone: ZoneInfo) -> timedelta:
    """Return how far a zone's clocks are changed between two times or on the day before the first.

    What was due in an hour that a spring night leaves out comes after it, and the next day at its own time.
    """
    moments = (start - timedelta(days=1), start, end)
    offsets = [moment.astimezone(zone).utcoffset() or timedelta() for moment in moments]
    return max(offsets) - min(offsets)


def counted_from(one: Retraining) -> datetime:
    """Return when a retraining was due, or, long after that, when it began."""
    if one.scheduled_at is None or one.created_at - one.scheduled_at > timedelta(minutes=5):
        return one.created_at
    return one.scheduled_at
