"""Engine, sessions and NOTIFY; the caller owns the transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoneFree
from sqlalchemy.orm import Session, sessionmaker

from db import limits

# Postgres is not to be had now: the same may succeed later. Any other error of it comes again each time.
AWAY = (OperationalError, InterfaceError, NoneFree)  # the last: no connection of the pool came free


def describe(error: Exception) -> str:
    """What is said of one of `AWAY`, without what SQLAlchemy adds."""
    return str(getattr(error, "orig", None) or error).strip()


def driver_url(url: str) -> URL:
    """Any Postgres address (`postgres://`, `postgresql://`, with or without a driver) for psycopg2."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg2")


def sessions(url: str, seconds: float = limits.STATEMENT_SECONDS) -> sessionmaker[Session]:
    """One small pool a process; with `pool_pre_ping` a restart of Postgres costs a reconnect, no error.

    No statement takes longer than `seconds`.
    """
    arguments = {"connection_factory": limits.Limited, **limits.KEEPALIVE}
    engine = create_engine(
        driver_url(url), pool_pre_ping=True, pool_size=4, max_overflow=6, connect_args=arguments
    )

    @event.listens_for(engine, "connect")
    def limit(connection: Any, _: object) -> None:
        connection.limit(seconds)

    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def snapshot(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """Open a transaction whose reads all see the database as it is at the first of them."""
    with sessions.begin() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def notify(session: Session, channel: str, payload: str = "") -> None:
    """Wakes whoever listens on `channel`, when and only when the caller's transaction commits."""
    session.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": channel, "payload": payload})
