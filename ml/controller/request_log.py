"""The upkeep of the request log: partitions made ahead, and dropped whole, the oldest first."""

from loguru import logger
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from common.units import format_bytes
from db import request_partitions
from db.session import describe_error


def maintain_partitions(sessions: sessionmaker[Session], max_days: int, max_bytes: int) -> None:
    """Drop what is beyond the bounds, a day in a transaction of its own, and make what is missing.

    A day that somebody reads for longer than Postgres waits here is dropped the next time.
    """
    try:
        with sessions.begin() as session:
            request_partitions.create_missing(session)
            expired = request_partitions.find_expired(session, max_days, max_bytes)
        for partition in expired:
            with sessions.begin() as session:
                request_partitions.drop(session, partition.day)
            logger.info("the request log of {} was dropped: {}", partition.day, format_bytes(partition.size))
        if expired:
            with sessions.begin() as session:
                request_partitions.create_missing(session)  # today's, where it was too large alone
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != request_partitions.LOCKED_CODE:
            raise
        logger.warning("the request log is maintained later: {}", describe_error(error))
