"""Requests of each model by minute, by Postgres's clock; stored for two days."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Integer, cast, delete, extract, func, insert, or_, select
from sqlalchemy.orm import Session

from db.models import Traffic
from db.session import read_time

RETENTION = timedelta(days=2)


@dataclass(frozen=True)
class RequestCounts:
    """Counts of answered requests: how many of each latency, and how many of all of them failed."""

    latencies: list[int]
    failed: int

    def __add__(self, other: "RequestCounts") -> "RequestCounts":
        sums = [one + more for one, more in zip(self.latencies, other.latencies, strict=True)]
        return RequestCounts(sums, self.failed + other.failed)

    def __sub__(self, other: "RequestCounts") -> "RequestCounts":
        rest = [one - less for one, less in zip(self.latencies, other.latencies, strict=True)]
        return RequestCounts(rest, self.failed - other.failed)

    @property
    def requests(self) -> int:
        return sum(self.latencies)


def record_counts(session: Session, counted: Mapping[str, RequestCounts], age: timedelta) -> datetime:
    """Add each model's counts of `age` ago, and delete old ones; return Postgres's time.

    A minute in the future dates from before the clock was set back: it is deleted, too.
    """
    if counted:
        minute = func.date_trunc("minute", func.now() - age)
        rows = [
            {"model": model, "minute": minute, "failed": counts.failed, "counts": counts.latencies}
            for model, counts in counted.items()
        ]
        session.execute(insert(Traffic).values(rows))
    outside = or_(Traffic.minute < func.now() - RETENTION, Traffic.minute > func.now())
    session.execute(delete(Traffic).where(outside))
    return read_time(session)


def read(
    session: Session, model: str, *, seconds: int, points: int, bounds: int
) -> tuple[datetime, dict[datetime, RequestCounts]]:
    """Return Postgres's time, and the counts of the newest `points` intervals, `seconds` long, that had any.

    `bounds` is the number of latency buckets.
    """
    now = session.execute(select(func.now())).scalar_one()
    newest = int(now.timestamp() // seconds)
    start = datetime.fromtimestamp((newest - points + 1) * seconds, UTC)
    number = cast(func.floor(extract("epoch", Traffic.minute) / seconds), Integer)
    found = session.execute(
        select(number, *sum_columns(bounds))
        .where(Traffic.model == model, Traffic.minute.between(start, now))
        .group_by(number)
        .order_by(number)
    )
    return now, {datetime.fromtimestamp(at * seconds, UTC): make_counts(summed) for at, *summed in found}


def read_hour(session: Session, models: Sequence[str], *, bounds: int) -> dict[str, RequestCounts]:
    """Return the counts of the last hour of each of these models that had any."""
    found = session.execute(
        select(Traffic.model, *sum_columns(bounds))
        .where(Traffic.model.in_(models))
        .where(Traffic.minute.between(func.now() - timedelta(hours=1), func.now()))
        .group_by(Traffic.model)
    )
    return {model: make_counts(summed) for model, *summed in found}


def sum_columns(bounds: int) -> list[ColumnElement[int]]:
    """Return the sums over rows: those that failed, and then each latency."""
    latencies = [func.coalesce(func.sum(Traffic.counts[index]), 0) for index in range(1, bounds + 1)]
    return [func.sum(Traffic.failed), *latencies]


def make_counts(summed: Sequence[int]) -> RequestCounts:
    failed, *latencies = map(int, summed)
    return RequestCounts(latencies, failed)
