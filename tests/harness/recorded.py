"""Rows of the request log, as `serve` leaves them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import request_log, request_partitions
from db.request_log_models import RecordedRequest
from ml.serving.request_log.ids import IdMaker

KEY = b"k" * 32


def make_row(model: str, features: Any, at: datetime | None = None, **facts: Any) -> dict[str, Any]:
    call = IdMaker(KEY, model).make(int(1000 * (at or datetime.now(UTC)).timestamp()))
    return {
        "id": str(call.uuid),
        "row": 0,
        "at": call.at,
        "model": model,
        "release_id": 1,
        "route": "predict",
        "client_id": "c",
        "features": json.dumps(features),
        "answer": "0",
        "error": None,
        "milliseconds": 1.0,
        "is_whole": True,
        "is_reduced": False,
        **facts,
    }


def record(
    sessions: sessionmaker[Session], model: str, *requests: Any, answers: Sequence[Any] = (), **facts: Any
) -> list[str]:
    """Record requests, the newest last, each with its answer where there are some; return their ids."""
    began = datetime.now(UTC) - timedelta(milliseconds=len(requests))
    rows = [
        make_row(
            model,
            features,
            at=began + timedelta(milliseconds=number),
            **({"answer": json.dumps(answers[number])} if answers else {}),
            **facts,
        )
        for number, features in enumerate(requests)
    ]
    with sessions.begin() as session:
        request_partitions.create_missing(session)
        request_log.record_batch(session, rows)
    return [str(row["id"]) for row in rows]


def read_rows(sessions: sessionmaker[Session]) -> Sequence[RecordedRequest]:
    """Return what is recorded, the oldest first."""
    with sessions.begin() as session:
        query = select(RecordedRequest).order_by(RecordedRequest.at, RecordedRequest.row)
        return session.scalars(query).all()
