"""Rows of the request log, as `serve` leaves them."""

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session, sessionmaker

from db import request_log, request_partitions
from db.ground_truth_models import GroundTruth
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


def label(
    sessions: sessionmaker[Session], model: str, ids: Sequence[str], values: Sequence[Any], **facts: Any
) -> None:
    """Add the ground truth of calls of one row each, as `serve` stores it."""
    rows = [
        {
            "id": uuid.UUID(call),
            "row": 0,
            "at": request_log.read_id_time(uuid.UUID(call)),
            "model": model,
            "value": value,
            "source": "system",
            **facts,
        }
        for call, value in zip(ids, values, strict=True)
    ]
    with sessions.begin() as session:
        session.execute(insert(GroundTruth), rows)


def record_labelled(
    sessions: sessionmaker[Session], model: str, *pairs: tuple[Any, Any], **facts: Any
) -> list[str]:
    """Record requests with their ground truth, the newest last; return their ids."""
    ids = record(sessions, model, *(features for features, _ in pairs), **facts)
    label(sessions, model, ids, [value for _, value in pairs])
    return ids
