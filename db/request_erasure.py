"""The erasure of recorded requests: of the rows, their ground truth, and their copies in comparisons."""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Text, bindparam, cast, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH
from sqlalchemy.orm import InstrumentedAttribute, Session

from db import deployments, ground_truth
from db.ground_truth_models import GroundTruth
from db.models import Release
from db.request_log import ReplayableRequest, read_id_time
from db.request_log_models import RecordedRequest

SEARCHED_ROWS = 5000  # at once for a value: with 64 KiB each, in far less time than a statement has
FROM_USERS = "recorded requests"  # what a comparison was made on


Rows = type[RecordedRequest] | type[GroundTruth]


@dataclass(frozen=True)
class DeletedRows:
    """The rows of the log that were deleted, the number of values of ground truth, and their calls."""

    requests: list[ReplayableRequest]
    ground_truth: int
    labelled: frozenset[uuid.UUID]


def delete_by_id(session: Session, model: str, calls: Sequence[uuid.UUID]) -> DeletedRows:
    """Delete all rows of these calls, and their ground truth."""
    ground_truth.wait_for_stores(session, model)
    rows = _delete(session, model, is_among(RecordedRequest, calls))
    removed = _delete_ground_truth(session, model, is_among(GroundTruth, calls))
    return DeletedRows(rows, len(removed), frozenset(removed))


def find_period_end(
    session: Session, model: str, begin: datetime, end: datetime, rows: int = SEARCHED_ROWS
) -> datetime:
    """Return the time before which a model has about so many rows since `begin`, at the latest `end`.

    That holds for the log and for ground truth alike.
    """
    found = [end]
    for table in (RecordedRequest, GroundTruth):
        of_model = (table.model == model) & (table.at >= begin) & (table.at < end)
        beyond = select(table.at).where(of_model).order_by(table.at).offset(rows).limit(1)
        if (at := session.scalar(beyond)) is not None:
            found.append(max(at, begin + timedelta(microseconds=1)))
    return min(found)


def delete_by_value(
    session: Session, model: str, field: str, values: Sequence[Any], *, begin: datetime, end: datetime
) -> DeletedRows:
    """Delete a period's rows whose features have a field, at any depth, with one of these plain values.

    Ground truth is deleted with its row, and where a value of its own, also a replaced one, has the field.
    """
    ground_truth.wait_for_stores(session, model)
    rows = _delete(session, model, is_within(RecordedRequest, begin, end) & has_value(field, values))
    deleted = {(row.id, row.row) for row in rows}
    of_rows = is_among(GroundTruth, [id_ for id_, _ in deleted]) & tuple_(
        GroundTruth.id, GroundTruth.row
    ).in_(deleted)
    own = [has_value(field, values, column) for column in (GroundTruth.value, GroundTruth.earlier)]
    removed = _delete_ground_truth(session, model, of_rows) if deleted else []
    removed += _delete_ground_truth(session, model, is_within(GroundTruth, begin, end) & or_(*own))
    return DeletedRows(rows, len(removed), frozenset(removed))


def is_within(table: Rows, begin: datetime, end: datetime) -> ColumnElement[bool]:
    return (table.at >= begin) & (table.at < end)


def has_value(
    field: str, values: Sequence[Any], column: InstrumentedAttribute[Any] = RecordedRequest.features
) -> ColumnElement[bool]:
    """Return the condition that JSON has a field, at any depth, with one of these plain values."""
    return func.jsonb_path_exists(
        column,
        cast(bindparam(None, f"$.**.{json.dumps(field)} ? (@ == $values[*])", Text), JSONPATH),
        cast(bindparam(None, json.dumps({"values": values}), Text), JSONB),
        True,
    )


def is_among(table: Rows, calls: Iterable[uuid.UUID]) -> ColumnElement[bool]:
    """Return the condition that a row is of one of these calls; only partitions that may have it are read."""
    named = [(call, read_id_time(call)) for call in calls]
    at_once = table.at.in_([at for _, at in named])  # tuples alone let Postgres leave none out
    return at_once & tuple_(table.id, table.at).in_(named)


def _delete_ground_truth(session: Session, model: str, which: ColumnElement[bool]) -> list[uuid.UUID]:
    ids = session.scalars(
        delete(GroundTruth).where(GroundTruth.model == model, which).returning(GroundTruth.id),
        execution_options={"synchronize_session": False},
    )
    return [*ids]


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
    present = set(session.scalars(select(RecordedRequest.id).where(is_among(RecordedRequest, named))))
    kept = [row for row in worst if not row.get("prediction") or uuid.UUID(row["prediction"]) in present]
    return {**differences, "worst": kept}
