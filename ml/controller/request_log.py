"""The upkeep of the request log: days made ahead and dropped whole, ground truth whose row never came."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from loguru import logger
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from common.units import format_bytes
from db import ground_truth, request_partitions
from db.session import describe_error

UPKEEP_SECONDS = 60.0


class LogUpkeep:
    """Makes the partitions of the next days, and drops what is beyond the bounds of days and bytes."""

    def __init__(self, sessions: sessionmaker[Session], max_days: int, max_bytes: int) -> None:
        self.sessions, self.max_days, self.max_bytes = sessions, max_days, max_bytes
        self.due = 0.0  # by the monotonic clock

    def maintain(self) -> None:
        """Maintain the log, where that was not done in the last minute."""
        if time.monotonic() >= self.due:
            maintain_partitions(self.sessions, self.max_days, self.max_bytes)
            delete_early(self.sessions)
            self.due = time.monotonic() + UPKEEP_SECONDS


def maintain_partitions(sessions: sessionmaker[Session], max_days: int, max_bytes: int) -> None:
    """Drop what is beyond the bounds, a day in a transaction of its own, and then make what is missing."""
    with put_off_if_locked():
        with sessions.begin() as session:
            expired = request_partitions.find_expired(session, max_days, max_bytes)
        for partition in expired:
            with sessions.begin() as session:
                request_partitions.drop(session, partition.day)
            logger.info("the request log of {} was dropped: {}", partition.day, format_bytes(partition.size))
    with put_off_if_locked(), sessions.begin() as session:
        request_partitions.create_missing(session)  # also today's, where it was too large alone


def delete_early(sessions: sessionmaker[Session]) -> None:
    """Delete ground truth whose row has not come in a day, some thousand values in each transaction."""
    due = ground_truth.SETTLED_ROWS
    while due == ground_truth.SETTLED_ROWS:
        with sessions.begin() as session:
            due, deleted = ground_truth.settle_early(session)
        if deleted:
            logger.info("{} values of ground truth were deleted: their rows never came", deleted)


@contextmanager
def put_off_if_locked() -> Iterator[None]:
    """Leave the rest for the next time where somebody reads for longer than Postgres waits here."""
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != request_partitions.LOCKED_CODE:
            raise
        logger.warning("the request log is maintained later: {}", describe_error(error))
