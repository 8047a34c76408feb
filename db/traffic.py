"""Requests of each model by minute for two days and by hour for a month, by Postgres's clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Integer,
    cast,
    delete,
    extract,
    func,
    insert,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from db.models import HourlyTraffic, Traffic
from db.session import read_time

RETENTION = timedelta(days=2)
HOURLY_RETENTION = timedelta(days=32)
HOUR_SECONDS = 3600

ADDED_COUNTS: ColumnElement[list[int]] = literal_column(
    "(SELECT array_agg(one + more ORDER BY latency) FROM unnest(hourly_traffic.counts, excluded.counts)"
    " WITH ORDINALITY AS each (one, more, latency))"
)


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
        at = func.now() - age
        rows = [
            {"model": model, "failed": counts.failed, "counts": counts.latencies}
            for model, counts in sorted(counted.items())  # in one order: of two processes none waits for ever
        ]
        minute, hour = func.date_trunc("minute", at), func.date_trunc("hour", at, "UTC")
        session.execute(insert(Traffic).values([row | {"minute": minute} for row in rows]))
        hours = postgresql.insert(HourlyTraffic).values([row | {"hour": hour} for row in rows])
        added = {"failed": HourlyTraffic.failed + hours.excluded.failed, "counts": ADDED_COUNTS}
        session.execute(hours.on_conflict_do_update(index_elements=["model", "hour"], set_=added))
    for table, column, retention in (
        (Traffic, Traffic.minute, RETENTION),
        (HourlyTraffic, HourlyTraffic.hour, HOURLY_RETENTION),
    ):
        session.execute(delete(table).where(or_(column < func.now() - retention, column > func.now())))
    return read_time(session)


def read(
    session: Session, model: str, *, seconds: int, points: int, bounds: int
) -> tuple[datetime, dict[datetime, RequestCounts]]:
    """Return Postgres's time, and the counts of the newest `points` intervals, `seconds` long, that had any.

    `bounds` is the number of latency buckets. Intervals of whole hours may reach back a month.
    """
    source = HourlyTraffic if seconds % HOUR_SECONDS == 0 else Traffic
    at = HourlyTraffic.hour if source is HourlyTraffic else Traffic.minute
    now = session.execute(select(func.now())).scalar_one()
    newest = int(now.timestamp() // seconds)
    start = datetime.fromtimestamp((newest - points + 1) * seconds, UTC)
    number = cast(func.floor(extract("epoch", at) / seconds), Integer)
    found = session.execute(
        select(number, *sum_columns(source, bounds))
        .where(source.model == model, at.between(start, now))
        .group_by(number)
        .order_by(number)
    )
    return now, {datetime.fromtimestamp(one * seconds, UTC): make_counts(summed) for one, *summed in found}


def read_hour(session: Session, models: Sequence[str], *, bounds: int) -> dict[str, RequestCounts]:
    """Return the counts of the last hour of each of these models that had any."""
    found = session.execute(
        select(Traffic.model, *sum_columns(Traffic, bounds))
        .where(Traffic.model.in_(models))
        .where(Traffic.minute.between(func.now() - timedelta(hours=1), func.now()))
        .group_by(Traffic.model)
    )
    return {model: make_counts(summed) for model, *summed in found}


def sum_columns(source: type[Traffic] | type[HourlyTraffic], bounds: int) -> list[ColumnElement[int]]:
    """Return the sums over rows: those that failed, and then each latency."""
    latencies = [func.coalesce(func.sum(source.counts[index]), 0) for index in range(1, bounds + 1)]
    return [func.sum(source.failed), *latencies]


def make_counts(summed: Sequence[int]) -> RequestCounts:
    failed, *latencies = map(int, summed)
    return RequestCounts(latencies, failed)
