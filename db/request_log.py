"""The request log: recorded predictions of every protocol, written in batches, read by model."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from db.request_log_models import RecordedRequest
from db.session import read_time

MAX_SCANNED_ROWS = 1000  # of the newest, among which distinct requests are looked for


@dataclass(frozen=True)
class ReplayableRequest:
    """The features of a recorded request, with the newest call that sent them."""

    features: Any
    id: uuid.UUID
    row: int


def record_batch(session: Session, rows: Sequence[Mapping[str, Any]]) -> datetime:
    """Add rows, in statements of many rows each; return Postgres's time.

    COPY is not possible: psycopg2 has none for connections with a wait callback, which limits all of ours.
    """
    if rows:
        session.execute(insert(RecordedRequest), rows)
    return read_time(session)


def list_replayable(session: Session, model: str, limit: int) -> list[ReplayableRequest]:
    """Return the newest requests that were answered and are stored whole, each of the same features once."""
    newest = (
        select(RecordedRequest.features, RecordedRequest.id, RecordedRequest.row, RecordedRequest.at)
        .where(RecordedRequest.model == model)
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
        .where(RecordedRequest.model == model)
        .order_by(RecordedRequest.at.desc())
        .limit(limit)
        .subquery()
    )
    return session.scalar(select(func.count()).where(newest.c.is_hidden)) or 0
