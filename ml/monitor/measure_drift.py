"""The drift of one model: draws of its recorded requests, compared with the baseline of its live release."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from db import deployments, monitor_results, releases, request_samples
from db.models import Deployment, Release
from db.monitor_models import MonitorState
from db.monitor_results import STATISTICS, Measured
from db.request_samples import Period, RowKey, SampledRow
from db.session import open_snapshot, read_time
from ml.monitor.baselines import MAX_BYTES, NotYetError, prepare_baseline
from ml.monitor.drift.baseline import BaselineError
from ml.monitor.drift.findings import DriftStatus
from ml.monitor.drift.request import VERSION
from ml.monitor.drift.windows import (
    DAY_ROWS,
    DAY_SECONDS,
    MAX_CALL_SHARE,
    NEWEST_ROWS,
    Row,
    WindowName,
    cap_calls,
)
from ml.monitor.install import drift_command
from ml.monitor.program import MeasurementError, run_program
from ml.monitor.venv import require_venv
from ml.paths import HomeLayout
from ml.record_section import find_followed
from ml.settings import MlSettings, ModelConfig

MAX_FINDINGS = 100  # columns of a window that are stored, the worst first

Json = dict[str, Any]


@dataclass(frozen=True)
class Draw:
    """The rows that are compared, by window."""

    seed: int
    now: datetime
    windows: dict[WindowName, list[SampledRow]]

    @property
    def keys(self) -> list[RowKey]:
        """Return the keys of all rows, each once."""
        return list(dict.fromkeys(row.key for rows in self.windows.values() for row in rows))


def measure_drift(
    sessions: sessionmaker[Session],
    settings: MlSettings,
    model: ModelConfig,
    live: Deployment,
    state: MonitorState,
) -> str | None:
    """Measure and store the drift of what a model serves; return why it drifts, None where it does not.

    Raises `MeasurementError` where that cannot be found out.
    """
    home, release = HomeLayout(settings.home.absolute()), live.release
    with sessions.begin() as session:
        sections = releases.list_record_sections(session, release)
    hidden = find_followed(model.operator_record, sections).hidden_fields
    try:
        baseline = prepare_baseline(sessions, home, live, hidden)
    except NotYetError as cause:
        save_too_few(sessions, release, str(cause))
        return state.drift_reason
    except BaselineError as fault:
        raise MeasurementError(f"its drift has no baseline: {fault}") from fault
    with sessions.begin() as session:
        since = monitor_results.find_baseline_end(session, model.name, release.id)
    drawn = draw_rows(sessions, model.name, since)
    thresholds = home.drift_thresholds_path(release.id)
    thresholds.parent.mkdir(parents=True, exist_ok=True)
    header = {
        "version": VERSION,
        "baseline": str(baseline.path),
        "cache": str(thresholds),
        "seed": drawn.seed,
        "now": drawn.now.timestamp(),
        "suspicion": state.suspicion,
    }
    lines = make_lines(header, drawn, release, has_columns=baseline.has_columns)
    answer = run_program(drift_command(require_venv()), lines)
    return save_answer(sessions, release, drawn, answer)


def draw_rows(sessions: sessionmaker[Session], model: str, since: datetime | None) -> Draw:
    """Return draws of the newest rows and of the newest day, whoever answered them, from one snapshot."""
    with open_snapshot(sessions) as session:
        now = read_time(session)
        seed = int(now.timestamp())
        most_of_call = int(NEWEST_ROWS * MAX_CALL_SHARE)
        newest = request_samples.list_newest(session, model, NEWEST_ROWS, most_of_call, since)
        begin = now - timedelta(seconds=DAY_SECONDS)
        if since is not None:
            begin = max(begin, since + timedelta(microseconds=1))
        period = Period(model, begin, now)
        day = request_samples.draw_period(session, period, 2 * DAY_ROWS, seed)
        chosen = {
            WindowName.NEWEST: choose_keys(newest, NEWEST_ROWS, seed, are_newest=True),
            WindowName.DAY: choose_keys(day, DAY_ROWS, seed),
        }
        read = {name: request_samples.read_rows(session, keys, MAX_BYTES) for name, keys in chosen.items()}
    return Draw(seed, now, read)


def choose_keys(
    keys: Sequence[RowKey], size: int, seed: int, *, are_newest: bool = False
) -> Sequence[RowKey]:
    """Return the rows of a window, few of each call, in random order."""
    draw = random.Random(seed)  # noqa: S311 (a draw, no secret)
    rows = [Row(str(key.id), key.at.timestamp(), key) for key in keys]
    capped = cap_calls(rows, int(size * MAX_CALL_SHARE), draw)
    if are_newest:
        capped = sorted(capped, key=lambda row: row.at, reverse=True)[:size]
    return [row.features for row in draw.sample(capped, min(size, len(capped)))]


def make_lines(header: Json, drawn: Draw, release: Release, *, has_columns: bool) -> Iterator[str]:
    """Yield the request of the drift program: a prediction only where this release made it.

    What is no object has no columns, and is not compared with a baseline that has some.
    """
    yield json.dumps(header)
    for name, rows in drawn.windows.items():
        for row in rows:
            if has_columns and not row.features.startswith("{"):
                continue
            facts = {"call": str(row.key.id), "at": row.key.at.timestamp(), "window": name}
            line = f'{json.dumps(facts)[:-1]}, "features": {row.features}'
            if row.answer is not None and row.key.release_id == release.id:
                line += f', "prediction": {row.answer}'
            yield line + "}"


def save_too_few(sessions: sessionmaker[Session], release: Release, reason: str) -> None:
    window = {
        **{"window": WindowName.NEWEST, "begins_at": None, "ends_at": None, "rows": 0, "calls": 0},
        **{"status": DriftStatus.TOO_FEW, "reason": reason, "findings": []},
    }
    with sessions.begin() as session:
        monitor_results.save_drift(session, release.model, Measured(release.id, [window], None))


def save_answer(sessions: sessionmaker[Session], release: Release, drawn: Draw, answer: Json) -> str | None:
    """Store what the program answered; return why it is drift, None where it is not.

    Where rows were erased meanwhile, also those of the baseline, only statistics are stored.
    """
    windows = [to_window(found) for found in answer["windows"]]
    with sessions.begin() as session:
        deployments.lock_model(session, release.model)  # whoever erases rows takes it before their copies
        has_baseline = monitor_results.find_baseline(session, release.id) == answer["baseline"]["digest"]
        if not has_baseline or request_samples.count_present(session, drawn.keys) < len(drawn.keys):
            for window in windows:
                window["findings"] = [keep_statistics(finding) for finding in window["findings"]]
        measured = Measured(release.id, windows, answer["suspicion"])
        monitor_results.save_drift(session, release.model, measured)
        if all(window["status"] == DriftStatus.TOO_FEW for window in windows):
            return monitor_results.find_drift_reason(session, release.model, release.id)
    drifting = [window["reason"] for window in windows if window["status"] == DriftStatus.DRIFT]
    return drifting[0] if drifting else None


def keep_statistics(finding: Json) -> Json:
    return {name: value for name, value in finding.items() if name in STATISTICS}


def to_window(found: Json) -> Json:
    """Return the columns of a stored window: statistics of many rows, and no value of any."""
    has_rows = found["rows"] > 0
    return {
        "window": found["window"],
        "begins_at": datetime.fromtimestamp(found["oldest"], UTC) if has_rows else None,
        "ends_at": datetime.fromtimestamp(found["newest"], UTC) if has_rows else None,
        "rows": found["rows"],
        "calls": found["calls"],
        "status": found["status"],
        "reason": found["reason"],
        "findings": found["columns"][:MAX_FINDINGS],
    }
