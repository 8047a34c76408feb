"""The erasure of what users sent, on demand: recorded rows, and every copy that was made of them."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from common.system import filelock
from db import monitor_erasure, recorded_rows, request_erasure, request_partitions
from db.request_erasure import DeletedRows
from db.request_log import read_id_time
from ml.paths import HomeLayout
from ml.prediction_delta import format_value
from ml.sandbox import rmtree
from ml.serving.request_log.fields import hash_value
from ml.serving.request_log.ids import CallId

MAX_LISTED = 1000  # ids of erased calls in the answer


@dataclass(frozen=True)
class FieldValue:
    """A field of the features, and the value whose rows are erased."""

    field: str
    value: Any

    def is_in(self, found: Any) -> bool:
        """Return whether this is the value that was found, or one of a list: as Postgres compares them."""
        return bool(found == self.value) or (isinstance(found, list) and self.value in found)

    def list_forms(self, fields_key: bytes, model: str) -> list[Any]:
        """Return the value, and its hash: it is stored as one of them."""
        return [self.value, hash_value(fields_key, model, self.field, self.value)]


@dataclass
class Erased:
    """The result of an erasure: rows and their calls, copies in comparisons, builds that still hold some."""

    rows: int = 0
    ground_truth: int = 0  # values
    calls: set[str] = field(default_factory=set)
    labelled: set[UUID] = field(default_factory=set)  # calls whose ground truth was erased
    texts: set[bytes] = field(default_factory=set)  # digests of features, as comparisons show them
    comparisons: list[int] = field(default_factory=list)  # releases
    building: list[int] = field(default_factory=list)  # releases that are being compared or trained now
    trained_on: list[int] = field(default_factory=list)  # releases whose training had rows of these times

    def add(self, deleted: DeletedRows) -> None:
        self.ground_truth += deleted.ground_truth
        self.labelled |= deleted.labelled
        for row in deleted.requests:
            self.rows += 1
            self.calls.add(str(row.id))
            self.texts.add(digest_features(format_value(row.features)))


def erase_calls(
    sessions: sessionmaker[Session], home: HomeLayout, model: str, ids: Sequence[CallId]
) -> Erased:
    """Erase the rows of these calls, their ground truth, and what was copied of them; blocking."""
    erased = Erased(calls={str(one.uuid) for one in ids})
    with sessions.begin() as session:
        deleted = request_erasure.delete_by_id(session, model, [one.uuid for one in ids])
    erased.add(deleted)
    erase_copies(sessions, home, model, erased)
    return erased


def erase_value(
    sessions: sessionmaker[Session], home: HomeLayout, model: str, wanted: FieldValue, fields_key: bytes
) -> Erased:
    """Erase the rows whose features have this value in a field, their ground truth and copies; blocking.

    Some rows of a day are a transaction of their own: after an error some are erased, and the call can be
    repeated.
    """
    erased, values = Erased(), wanted.list_forms(fields_key, model)
    with sessions.begin() as session:
        days = [partition.day for partition in request_partitions.list_partitions(session)]
    for day in days:
        begin, end = to_utc(day), to_utc(day + timedelta(days=1))
        while begin < end:
            with sessions.begin() as session:
                until = request_erasure.find_period_end(session, model, begin, end)
                deleted = request_erasure.delete_by_value(
                    session, model, wanted.field, values, begin=begin, end=until
                )
            erased.add(deleted)
            begin = until
    erase_copies(sessions, home, model, erased, wanted)
    return erased


def to_utc(day: date) -> datetime:
    """Return the time at which a day begins in UTC."""
    return datetime.combine(day, time(), UTC)


def erase_copies(
    sessions: sessionmaker[Session],
    home: HomeLayout,
    model: str,
    erased: Erased,
    wanted: FieldValue | None = None,
) -> None:
    """Erase copies in stored comparisons, in what drift is measured by, and in files of killed builders."""
    with sessions.begin() as session:
        for release, differences in request_erasure.list_differences(session, model):
            worst = differences.get("worst") or []
            kept = [row for row in worst if not is_copy(row, erased, wanted)]
            if len(kept) < len(worst):
                request_erasure.save_differences(session, release, {**differences, "worst": kept})
                erased.comparisons.append(release)
        forgotten = monitor_erasure.forget_baselines(session, model)
        for measured in forgotten:
            home.drift_baseline_path(measured.isolation, measured.id).unlink(missing_ok=True)
            home.drift_thresholds_path(measured.id).unlink(missing_ok=True)
        monitor_erasure.erase_findings(session, model, [measured.id for measured in forgotten])
    erased.building += sweep_comparisons(home)
    find_trained(sessions, home, model, erased)


def find_trained(sessions: sessionmaker[Session], home: HomeLayout, model: str, erased: Erased) -> None:
    """Remove training data in files, then name the releases whose training had erased rows, or may have.

    In this order: a builder whose files are gone has stored which rows it read.
    """
    with sessions.begin() as session:
        releases = recorded_rows.list_releases(session, model, home.list_scored())
    training = sweep_training_data(home, releases)
    times = [read_id_time(call) for call in {*map(UUID, erased.calls), *erased.labelled}]
    with sessions.begin() as session:
        trained = recorded_rows.list_trained(session, model, times)
    erased.building = sorted({*erased.building, *training})
    erased.trained_on = sorted({*trained, *(training if times else ())})


def is_copy(row: Mapping[str, Any], erased: Erased, wanted: FieldValue | None) -> bool:
    """Return whether a row of a comparison shows an erased request."""
    if row.get("prediction") in erased.calls or digest_features(row["features"]) in erased.texts:
        return True
    return wanted is not None and mentions(row["features"], wanted)


def mentions(features: str, wanted: FieldValue) -> bool:
    """Return whether features have this value in the field; of a text that was cut, whether they may."""
    try:
        return has_value(json.loads(features), wanted)
    except (ValueError, RecursionError):
        return (
            json.dumps(wanted.value, ensure_ascii=False) in features or json.dumps(wanted.field) in features
        )


def has_value(value: Any, wanted: FieldValue) -> bool:
    if isinstance(value, dict):
        return (wanted.field in value and wanted.is_in(value[wanted.field])) or any(
            has_value(one, wanted) for one in value.values()
        )
    return isinstance(value, list) and any(has_value(one, wanted) for one in value)


def sweep_comparisons(home: HomeLayout) -> list[int]:
    """Remove requests that builders have left in files; return the releases whose builder has some now.

    A builder removes its own within a minute, and stores nothing of a request that was erased.
    """
    building = []
    for folder in home.list_comparisons():
        release = home.find_release(folder)
        if filelock.is_locked(home.release_path(release) / "builder.lock"):
            building.append(release)
        else:
            rmtree.remove_tree(folder)
    return sorted(set(building))


def sweep_training_data(home: HomeLayout, releases: Collection[int]) -> list[int]:
    """Remove recorded rows that a model's releases have in files; return those that are being built now.

    A release that is tried again reads them again.
    """
    building = []
    for folder in home.list_recorded_data():
        release = home.find_release(folder)
        if release not in releases:
            continue
        if filelock.is_locked(home.release_path(release) / "builder.lock"):
            building.append(release)
        else:
            rmtree.remove_tree(folder)
    return building


def digest_features(text: str) -> bytes:
    """Return a digest of features as a comparison shows them, whatever the order of their names."""
    with suppress(ValueError, RecursionError):  # it was cut
        text = json.dumps(json.loads(text), sort_keys=True)
    return sha256(text.encode()).digest()
