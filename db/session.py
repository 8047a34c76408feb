"""Engine, sessions and NOTIFY; the caller owns the transaction."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

AWAY = (OperationalError, InterfaceError)  # Postgres; any other error of a statement is a bug of ours


def driver_url(url: str) -> URL:
    """Any Postgres address (`postgres://`, `postgresql://`, with or without a driver) for psycopg2."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg2")


def sessions(url: str) -> sessionmaker[Session]:
    """One small pool a process; with `pool_pre_ping` a restart of Postgres costs a reconnect, no error."""
    engine = create_engine(
        driver_url(url), pool_pre_ping=True, pool_size=4, max_overflow=6, connect_args={"connect_timeout": 5}
    )
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
