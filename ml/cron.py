"""Times of a schedule in cron syntax, by Debian's rules: https://pypi.org/project/cronsim/."""

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

FIELD_COUNT = 5  # cronsim takes a sixth, of seconds
MAX_CHARS = 100
MAX_STEPS = 200  # of one search, which passes over an hour that a clock shows twice


class ScheduleError(ValueError):
    """A text that is no schedule, or one that never comes."""


def check_schedule(text: str) -> None:
    """Raise `ScheduleError` for what is no schedule, or names a date that does not come in 50 years."""
    if len(text) > MAX_CHARS or not text.isprintable():
        raise ScheduleError(f"is longer than {MAX_CHARS} characters, or not printable")
    if len(text.split()) != FIELD_COUNT:
        raise ScheduleError("has not five fields: minute, hour, day of the month, month, day of the week")
    try:
        is_found = any(iterate_times(text, UTC, datetime.now(UTC)))
    except Exception as error:  # some texts fail with errors that are no CronSimError
        raise ScheduleError(f"is not in cron syntax ({str(error) or type(error).__name__})") from error
    if not is_found:
        raise ScheduleError("names a date that never comes")


@lru_cache(maxsize=256)
def find_next(text: str, timezone: str, minute: datetime) -> datetime | None:
    """Return the first time after `minute`, in UTC; None where none comes."""
    times = iterate_times(text, ZoneInfo(timezone), minute)
    return next((at for at in times if at > minute), None)  # of an hour that comes twice, the first counts


@lru_cache(maxsize=256)
def find_previous(text: str, timezone: str, minute: datetime) -> datetime | None:
    """Return the last time at or before `minute`, in UTC; None where none came in 50 years."""
    times = iterate_times(text, ZoneInfo(timezone), minute.replace(second=1), reverse=True)
    return next((at for at in times if at <= minute), None)


def iterate_times(text: str, zone: tzinfo, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    """Yield the times after `start`, or before it, in UTC."""
    from cronsim import CronSim  # noqa: PLC0415 (only where a schedule is set)

    for at in islice(CronSim(text, start.astimezone(zone), reverse=reverse), MAX_STEPS):
        yield at.astimezone(UTC)
