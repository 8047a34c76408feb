"""Engine, sessions and NOTIFY; the caller owns the transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import create_engine, event, func, make_url, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoneFree
from sqlalchemy.orm import Session, sessionmaker

from common.system.disk import is_disk_full_message
from common.text import first_line
from db import limits

# Postgres is unavailable now: a retry may succeed. Any other error of it repeats each time.
DB_ERRORS = (OperationalError, InterfaceError, NoneFree)  # the last: no connection of the pool came free
DISK_FULL_CODE = "53100"  # SQLSTATE


def describe_error(error: Exception) -> str:
    """Return in one line why Postgres is unavailable: one of `DB_ERRORS`, without SQLAlchemy's additions."""
    cause = getattr(error, "orig", None) or error
    message = first_line(str(cause), "no answer")
    if is_disk_full(getattr(cause, "pgcode", None), message):
        return f"its disk is full, make room there ({message})"
    return message


def is_disk_full(sqlstate: str | None, message: str) -> bool:
    """Return whether an error of Postgres means that its disk is full."""
    return sqlstate == DISK_FULL_CODE or is_disk_full_message(message)


def to_driver_url(url: str) -> URL:
    """Return any Postgres address (`postgres://`, `postgresql://`, with or without a driver) for psycopg2."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg2")


def create_sessionmaker(url: str, seconds: float = limits.STATEMENT_SECONDS) -> sessionmaker[Session]:
    """Create one small pool a process; with `pool_pre_ping` a Postgres restart costs a reconnect, no error.

    No statement takes longer than `seconds`.
    """
    arguments = {"connection_factory": limits.TimeoutConnection, **limits.KEEPALIVE_OPTIONS}
    engine = create_engine(
        to_driver_url(url), pool_pre_ping=True, pool_size=4, max_overflow=6, connect_args=arguments
    )

    @event.listens_for(engine, "connect")
    def limit(connection: Any, _: object) -> None:
        connection.set_timeout(seconds)

    @event.listens_for(engine, "checkin")
    def rest(connection: Any, _: object) -> None:
        if connection is not None:  # the pool's ping is the next statement
            connection.answer_seconds = seconds * limits.PING

    @event.listens_for(engine, "checkout")
    def use(connection: Any, _: object, __: object) -> None:
        connection.answer_seconds = seconds + limits.ANSWER_MARGIN_SECONDS

    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def open_snapshot(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """Open a transaction whose reads all see the database as it is at the first of them."""
    with sessions.begin() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def read_time(session: Session) -> datetime:
    """Return the time by Postgres's clock, to which all stored times belong."""
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return now


def notify(session: Session, channel: str, payload: str = "") -> None:
    """Notify the listeners on `channel`, when and only when the caller's transaction commits."""
    session.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload})
