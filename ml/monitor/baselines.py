"""The baseline of a live release: the file that its build made, or one made of its first requests."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import deployments, monitor_results, request_samples
from db.models import Deployment, Release
from db.request_samples import RowKey, SampledRow
from db.session import open_snapshot
from ml.monitor.drift.baseline import (
    MAX_REQUEST_ROWS,
    BaselineError,
    DriftBaseline,
    Source,
    make_baseline,
    select_usual,
)
from ml.monitor.drift.baseline_file import read_baseline, write_baseline
from ml.monitor.drift.request import parse_integer
from ml.monitor.drift.windows import MAX_CALL_SHARE
from ml.monitor.hidden_fields import hide_fields, without_columns
from ml.paths import HomeLayout
from ml.record_section import FieldRule

MAX_BYTES = 24 << 20  # of the rows of a baseline, and of a window

Hidden = Mapping[str, FieldRule]


@dataclass(frozen=True)
class StoredBaseline:
    path: Path
    has_columns: bool  # else the features of a row are one value


class NotYetError(Exception):
    """A baseline that needs more requests; the text has how many there are."""


def prepare_baseline(
    sessions: sessionmaker[Session], home: HomeLayout, live: Deployment, hidden: Hidden
) -> StoredBaseline:
    """Return the baseline, without columns that are hidden by now.

    One that is missing or damaged is made of the first requests. Raises `NotYetError`, and `BaselineError`
    where the rows cannot be measured.
    """
    release = live.release
    path = home.drift_baseline_path(release.isolation, release.id)
    found = read_stored(path, release.drift_baseline)
    if found is None:
        found = make_of_requests(sessions, live, hidden, path)
    reduced = without_columns(found, hidden)
    if reduced is not found:
        with sessions.begin() as session:
            deployments.lock_model(session, release.model)
            set_baseline(session, release.id, write_baseline(reduced, path), reduced.source)
        logger.info("release {}: hidden columns were taken out of its drift baseline", release.id)
    return StoredBaseline(path, reduced.has_columns)


def read_stored(path: Path, digest: str | None) -> DriftBaseline | None:
    """Return the baseline of a release; None where it has none, or the file is not what was made."""
    if digest is None:
        return None
    try:
        baseline, found = read_baseline(path)
    except (BaselineError, OSError) as fault:
        logger.warning("{}: it is made of recorded requests", fault)
        return None
    return baseline if found == digest else None


def make_of_requests(
    sessions: sessionmaker[Session], live: Deployment, hidden: Hidden, path: Path
) -> DriftBaseline:
    """Make the baseline of the first requests that a release has answered.

    Where one of them is erased meanwhile, it is made at the next run: of those that are left.
    """
    release = live.release
    keys, rows = read_first(sessions, live)
    features = [hide_fields(parse(row.features), hidden) for row in rows]
    answers = [hide_fields(parse(row.answer), hidden) for row in rows]
    baseline = without_columns(make_baseline(*select_usual(features, answers), Source.REQUESTS), hidden)
    with sessions.begin() as session:
        deployments.lock_model(session, release.model)  # whoever erases rows takes it before their copies
        if request_samples.count_present(session, keys) < len(keys):
            raise NotYetError("rows of the baseline were erased: it is made again")
        path.parent.mkdir(parents=True, exist_ok=True)
        set_baseline(session, release.id, write_baseline(baseline, path), Source.REQUESTS)
        monitor_results.set_baseline_end(session, release.model, release.id, max(key.at for key in keys))
    return baseline


def read_first(sessions: sessionmaker[Session], live: Deployment) -> tuple[list[RowKey], list[SampledRow]]:
    """Return the first rows that a release answered since it went live; raises `NotYetError`."""
    wanted, most_of_call = MAX_REQUEST_ROWS, int(MAX_REQUEST_ROWS * MAX_CALL_SHARE)
    with open_snapshot(sessions) as session:
        assert live.live_at is not None
        keys = request_samples.list_first(
            session,
            live.model,
            live.release_id,
            since=live.live_at,
            rows=wanted,
            most_of_call=most_of_call,
        )
        if len(keys) < wanted:
            raise NotYetError(
                f"there is no baseline yet: it is made of the first {wanted:,} recorded requests, and there "
                f"are {len(keys):,}"
            )
        rows = request_samples.read_rows(session, keys, MAX_BYTES)
    return [row.key for row in rows], rows


def parse(text: str | None) -> Any:
    """Return a stored JSON value, whatever its numbers."""
    return None if text is None else json.loads(text, parse_int=parse_integer)


def set_baseline(session: Session, release: int, digest: str, source: Source) -> None:
    found = session.get_one(Release, release)
    found.drift_baseline, found.drift_source = digest, source
