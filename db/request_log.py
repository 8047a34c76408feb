"""The request log: recorded predictions of every protocol, written in batches, read by model."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from db.request_log_models import RecordedRequest
from db.session import read_time

MAX_SCANNED_ROWS = 1000  # of the newest, among which distinct requests are looked for
MAX_CLOCK_ERROR = timedelta(minutes=1)  # days ahead have partitions, and no rows

INSERT_ROWS = text("""
    INSERT INTO requests (
        id, "row", at, model, release_id, route, client_id, features, answer, error, milliseconds,
        is_whole, is_reduced
    )
    SELECT * FROM unnest(
        CAST(:id AS uuid[]), CAST(:row AS integer[]), CAST(:at AS timestamptz[]), CAST(:model AS text[]),
        CAST(:release_id AS integer[]), CAST(:route AS text[]), CAST(:client_id AS text[]),
        CAST(:features AS jsonb[]), CAST(:answer AS jsonb[]), CAST(:error AS text[]),
        CAST(:milliseconds AS real[]), CAST(:is_whole AS boolean[]), CAST(:is_reduced AS boolean[])
    )
""")


@dataclass(frozen=True)
class ReplayableRequest:
    """The features of a recorded request, with the newest call that sent them."""

    features: Any
    id: uuid.UUID
    row: int


def read_id_time(id_: uuid.UUID) -> datetime:
    """Return the time in a UUIDv7, which is that of its rows: it names their partition."""
    ms = id_.int >> 80
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)


def record_batch(session: Session, rows: Sequence[Mapping[str, Any]]) -> datetime:
    """Add rows by one statement, with JSON as text; return Postgres's time.

    COPY is not possible: psycopg2 has none for connections with a wait callback, which limits all of ours.
    An array for each column takes a third of the time of a parameter for each value.
    """
    if rows:
        session.execute(INSERT_ROWS, {name: [row[name] for row in rows] for name in rows[0]})
    return read_time(session)


def list_replayable(session: Session, model: str, limit: int) -> list[ReplayableRequest]:
    """Return the newest requests that were answered and are stored whole, each of the same features once."""
    newest = (
        select(RecordedRequest.features, RecordedRequest.id, RecordedRequest.row, RecordedRequest.at)
        .where(RecordedRequest.model == model, RecordedRequest.at < func.now() + MAX_CLOCK_ERROR)
        .where(RecordedRequest.is_whole, RecordedRequest.error.is_(None))
        .order_by(RecordedRequest.at.desc())
        .limit(MAX_SCANNED_ROWS)
        .subquery()
    )
    each = (
        select(newest)
        .ext(distinct_on(newest.c.features))
        .order_by(newest.c.features, newest.c.at.desc(), newest.c.row.desc())
        .subquery()
    )
    rows = session.execute(select(each).order_by(each.c.at.desc(), each.c.row.desc()).limit(limit))
    return [ReplayableRequest(row.features, row.id, row.row) for row in rows]


def list_distinct_features(session: Session, model: str, limit: int) -> list[Any]:
    """Return the features of `list_replayable`."""
    return [request.features for request in list_replayable(session, model, limit)]


def count_reduced(session: Session, model: str, limit: int) -> int:
    """Return how many of the newest `limit` rows of a model are not whole because a field is hidden."""
    newest = (
        select((RecordedRequest.is_reduced & ~RecordedRequest.is_whole).label("is_hidden"))
        .where(RecordedRequest.model == model, RecordedRequest.at < func.now() + MAX_CLOCK_ERROR)
        .order_by(RecordedRequest.at.desc())
        .limit(limit)
        .subquery()
    )
    return session.scalar(select(func.count()).where(newest.c.is_hidden)) or 0
