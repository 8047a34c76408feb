"""A pooler in front of Postgres, such as PgBouncer: Slipway needs connections that keep their session."""

import psycopg2
from psycopg2 import extensions

from db import limits
from db.session import to_driver_url

MAX_PROBES = 10  # of a busy pooler, which may give a connection the same session twice by chance
STATEMENT_MODE = "statement pooling mode"  # in PgBouncer's refusal of a transaction
NO_SESSIONS = (
    "DATABASE_URL leads to a pooler that gives a connection another session of Postgres for each "
    "transaction, as PgBouncer in transaction or statement mode does. Locks, notifications and time limits "
    "would be lost without an error. Set `pool_mode = session` for Slipway's databases, or name Postgres "
    "itself in DATABASE_URL"
)


class NoSessionsError(Exception):
    """A pooler whose connections do not keep their session."""


def check_sessions(url: str) -> None:
    """Raise `NoSessionsError` behind a pooler in transaction or statement mode; nothing else would tell.

    Raises `psycopg2.Error` while Postgres is unavailable.
    """
    probe = connect(url)
    try:
        probe.autocommit = True
        session = read_session(probe)
        if session != probe.info.backend_pid and has_lost_session(url, probe, session):
            raise NoSessionsError(NO_SESSIONS)
    finally:
        probe.close()


def has_lost_session(url: str, probe: extensions.connection, session: int) -> bool:
    """Return whether `probe` gets another session while a second connection has a transaction open."""
    other = connect(url)
    try:
        for _ in range(MAX_PROBES):
            read_session(other)  # begins a transaction
            if read_session(probe) != session:
                return True
            other.rollback()
    except psycopg2.OperationalError as error:
        # no answer: the other transaction has the only session
        return STATEMENT_MODE in str(error) or not other.closed
    finally:
        other.close()
    return False


def connect(url: str) -> extensions.connection:
    """Connect without settings: those of a session would stay in the pool, for others."""
    address = to_driver_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    made: limits.TimeoutConnection = psycopg2.connect(
        address, connection_factory=limits.TimeoutConnection, **limits.KEEPALIVE_OPTIONS
    )
    made.answer_seconds = limits.CONNECT_SECONDS
    return made


def read_session(connection: extensions.connection) -> int:
    """Return the process of Postgres that answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone() or (0,)
    return int(pid)
