"""The partitions of the request log and its ground truth: one a day in UTC, made ahead, dropped whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db.session import read_time

DAYS_AHEAD = 3  # that are made before they begin: a controller may be away for as long
MISSING_CODE = "23514"  # SQLSTATE of a row for which there is no partition
LOCKED_CODE = "55P03"  # SQLSTATE of a table that somebody else has locked for too long

SIZES = text("""
    SELECT right(child.relname, 8) AS day, sum(pg_total_relation_size(child.oid))
    FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent IN (to_regclass('requests'), to_regclass('ground_truth'))
    AND child.relname ~ '^(requests|ground_truth)_[0-9]{8}$'
    GROUP BY day ORDER BY day
""")


@dataclass(frozen=True)
class Partition:
    """One day of the log with its ground truth, and the bytes that both take with their indexes."""

    day: date
    size: int


def create_missing(session: Session) -> None:
    """Make the partitions of today and of the days ahead, and yesterday's, for calls that began in it."""
    today = read_time(session).astimezone(UTC).date()
    existing = {partition.day for partition in list_partitions(session)}
    for offset in range(-1, DAYS_AHEAD + 1):
        if (day := today + timedelta(days=offset)) not in existing:
            session.execute(select(func.create_request_partition(day)))


def list_partitions(session: Session) -> Sequence[Partition]:
    """Return the partitions that are made here, the oldest first; another one is its maker's to drop."""
    return [
        Partition(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date(), int(size))
        for day, size in session.execute(SIZES)
    ]


def find_expired(session: Session, max_days: int, max_bytes: int) -> Sequence[Partition]:
    """Return the partitions beyond the bounds, the oldest first; today's only where it alone is too large."""
    today = read_time(session).astimezone(UTC).date()
    partitions = [partition for partition in list_partitions(session) if partition.day <= today]
    total = sum(partition.size for partition in partitions)
    expired = []
    for partition in partitions:
        if total > max_bytes or partition.day <= today - timedelta(days=max_days):
            expired.append(partition)
            total -= partition.size
    return expired


def drop(session: Session, day: date) -> None:
    """Drop a day whole; waits at most five seconds for those that read it."""
    session.execute(select(func.drop_request_partition(day)))
