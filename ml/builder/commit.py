"""Writes to Postgres that outlast its absence: what a builder has finished is recorded, not done again."""

from collections.abc import Callable
from time import sleep
from typing import TypeVar

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db.session import DB_ERRORS, describe_error

PAUSE_SECONDS = (1.0, 2.0, 5.0, *[15.0] * 40)  # between attempts, some ten minutes in all
Written = TypeVar("Written")


class PostgresLostError(Exception):
    """Postgres stayed unavailable for longer than a builder waits; nothing can be recorded."""


def commit_change(
    sessions: sessionmaker[Session], release_id: int, change: Callable[[Session], Written]
) -> Written:
    """Commit a change in a transaction of its own, and return what it returns; wait while Postgres is away.

    Raises `PostgresLostError` after some ten minutes, and at once what the change raises otherwise.
    """
    for attempt, pause in enumerate((*PAUSE_SECONDS, None)):
        try:
            with sessions.begin() as session:
                written = change(session)
        except DB_ERRORS as error:
            reason = describe_error(error)
            if pause is None:
                raise PostgresLostError(reason) from error
            if attempt == 0:
                logger.warning("release {} waits for Postgres, which is unavailable: {}", release_id, reason)
            sleep(pause)
        else:
            if attempt > 0:
                logger.info("release {}: Postgres responds again, the build goes on", release_id)
            return written
    raise AssertionError("the last attempt returns or raises")
