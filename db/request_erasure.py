"""The erasure of recorded requests: of the rows, and of their copies in stored comparisons."""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Text, bindparam, cast, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH
from sqlalchemy.orm import Session

from db import deployments
from db.models import Release
from db.request_log import ReplayableRequest, read_id_time
from db.request_log_models import RecordedRequest

SEARCHED_ROWS = 5000  # at once for a value: with 64 KiB each, in far less time than a statement has
FROM_USERS = "recorded requests"  # what a comparison was made on


def delete_by_id(session: Session, model: str, calls: Iterable[uuid.UUID]) -> list[ReplayableRequest]:
    """Delete all rows of these calls; return what they were."""
    return _delete(session, model, is_among(calls))


def find_period_end(
    session: Session, model: str, begin: datetime, end: datetime, rows: int = SEARCHED_ROWS
) -> datetime:
    """Return the time before which a model has about so many rows since `begin`, at the latest `end`."""
    of_model = (RecordedRequest.model == model) & (RecordedRequest.at >= begin) & (RecordedRequest.at < end)
    beyond = select(RecordedRequest.at).where(of_model).order_by(RecordedRequest.at).offset(rows).limit(1)
    found = session.scalar(beyond)
    return end if found is None else max(found, begin + timedelta(microseconds=1))


def delete_by_value(
    session: Session, model: str, field: str, values: Sequence[Any], *, begin: datetime, end: datetime
) -> list[ReplayableRequest]:
    """Delete a period's rows whose features have a field, at any depth, with one of these plain values."""
    of_period = (RecordedRequest.at >= begin) & (RecordedRequest.at < end)
    path = f"$.**.{json.dumps(field)} ? (@ == $values[*])"
    has_value = func.jsonb_path_exists(
        RecordedRequest.features,
        cast(bindparam(None, path, Text), JSONPATH),
        cast(bindparam(None, json.dumps({"values": values}), Text), JSONB),
        True,
    )
    return _delete(session, model, of_period & has_value)


def is_among(calls: Iterable[uuid.UUID]) -> ColumnElement[bool]:
    """Return the condition that a row is of one of these calls; only partitions that may have it are read."""
    named = [(call, read_id_time(call)) for call in calls]
    at_once = RecordedRequest.at.in_([at for _, at in named])  # tuples alone let Postgres leave none out
    return at_once & tuple_(RecordedRequest.id, RecordedRequest.at).in_(named)


def _delete(session: Session, model: str, which: ColumnElement[bool]) -> list[ReplayableRequest]:
    rows = session.execute(
        delete(RecordedRequest)
        .where(RecordedRequest.model == model, which)
        .returning(RecordedRequest.features, RecordedRequest.id, RecordedRequest.row),
        execution_options={"synchronize_session": False},
    )
    return [ReplayableRequest(row.features, row.id, row.row) for row in rows]


def list_differences(session: Session, model: str) -> Sequence[tuple[int, dict[str, Any]]]:
    """Return the stored comparisons on recorded requests, by release.

    It locks the model until the transaction ends: no builder stores another one meanwhile.
    """
    deployments.lock_model(session, model)
    from_users = Release.differences["inputs"].astext == FROM_USERS
    rows = session.execute(select(Release.id, Release.differences).where(Release.model == model, from_users))
    return [(number, differences) for number, differences in rows if differences]


def save_differences(session: Session, release: int, differences: Mapping[str, Any]) -> None:
    session.execute(update(Release).where(Release.id == release).values(differences=dict(differences)))


def without_erased(session: Session, model: str, differences: Mapping[str, Any]) -> dict[str, Any]:
    """Return a comparison that is about to be stored, without rows that were erased since it was made.

    It locks the model until the transaction ends: see `list_differences`.
    """
    worst = differences.get("worst") or []
    named = {uuid.UUID(row["prediction"]) for row in worst if row.get("prediction")}
    if not named:
        return dict(differences)
    deployments.lock_model(session, model)
    present = set(session.scalars(select(RecordedRequest.id).where(is_among(named))))
    kept = [row for row in worst if not row.get("prediction") or uuid.UUID(row["prediction"]) in present]
    return {**differences, "worst": kept}
