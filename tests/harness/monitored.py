"""A model that has been monitored for a while, as the monitor leaves it in Postgres."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import func, text, update
from sqlalchemy.orm import Session, sessionmaker

from db import request_log, traffic
from db.models import Deployment
from db.monitor_models import DriftWindow, MonitorState, QualityWindow
from db.retraining_models import Retraining
from db.states import RetrainingState, Trigger
from db.traffic import RequestCounts
from ml.monitor.drift.findings import WindowFinding
from tests.harness.recorded import make_row
from tests.ml.monitor.worlds import Change, World, make_judge, make_window

HOURS = 24


def find_drift(change: Change, seed: int = 3) -> WindowFinding:
    """Judge a window of a changed world."""
    judge, _ = make_judge(seed, rows=4000)
    rows = World(np.random.default_rng(seed + 1), change).rows(1000)
    return judge.judge(make_window(rows))


def add_drift(
    sessions: sessionmaker[Session],
    model: str,
    release: int,
    finding: WindowFinding | None = None,
    **facts: Any,
) -> None:
    columns = [asdict(column) for column in finding.columns] if finding else []
    given = {
        "window": "day",
        "rows": finding.rows if finding else 40,
        "calls": finding.calls if finding else 12,
        "status": finding.status if finding else "too few",
        "reason": finding.reason if finding else "40 rows to compare, and 100 are needed",
        "findings": columns,
        "begins_at": datetime.now(UTC) - timedelta(hours=3),
        "ends_at": datetime.now(UTC),
        **facts,
    }
    with sessions.begin() as session:
        session.add(DriftWindow(model=model, release_id=release, **given))


def add_quality(
    sessions: sessionmaker[Session], model: str, release: int, metrics: dict[str, Any], **facts: Any
) -> None:
    made_at = facts.get("made_at", datetime.now(UTC))
    given = {
        "window": "week",
        "begins_at": made_at - timedelta(days=7),
        "ends_at": made_at,
        "recorded": 4200,
        "rows": 1764,
        "kind": "regression",
        "status": "same",
        "reason": "",
        **facts,
    }
    with sessions.begin() as session:
        session.add(QualityWindow(model=model, release_id=release, metrics=metrics, **given))


def interval(value: float, room: float) -> dict[str, float]:
    return {"value": value, "low": value - room, "high": value + room}


def record_answers(
    sessions: sessionmaker[Session], model: str, release: int, at: datetime, answers: Sequence[Any]
) -> None:
    rows = [
        make_row(
            model,
            {"age": 1},
            at=at + timedelta(milliseconds=place),
            release_id=release,
            answer=json.dumps(answer),
        )
        for place, answer in enumerate(answers)
    ]
    with sessions.begin() as session:
        for days in (0, 1):
            session.execute(text("SELECT create_request_partition(current_date - :days)"), {"days": days})
        request_log.record_batch(session, rows)


def age_deployments(sessions: sessionmaker[Session], hours: dict[int, int]) -> None:
    """Let releases have gone live so many hours ago."""
    with sessions.begin() as session:
        for release, ago in hours.items():
            live_at = func.now() - timedelta(hours=ago)
            session.execute(
                update(Deployment).where(Deployment.release_id == release).values(live_at=live_at)
            )


def fill(sessions: sessionmaker[Session], model: str, before: int, live: int) -> None:
    """Leave a day in which release `live` took over, and its world then changed."""
    now = datetime.now(UTC)
    age_deployments(sessions, {before: 30, live: 14})
    draw = np.random.default_rng(5)
    for quarter in range(4 * HOURS):
        requests = int(200 + 120 * math.sin(quarter / 15) + draw.integers(40))
        latencies = [0] * 28
        for bucket, share in ((3, 0.5), (5, 0.4), (8, 0.09), (11, 0.01)):
            latencies[bucket] = math.ceil(share * requests)
        with sessions.begin() as session:
            counts = RequestCounts(latencies, 7 if quarter == 20 else 0)
            traffic.record_counts(session, {model: counts}, timedelta(minutes=15 * quarter))
    same, changed = find_drift(Change.NONE), find_drift(Change.SHIFT)
    for hour in range(HOURS, -1, -1):
        release, made_at = (before if hour > 14 else live), now - timedelta(hours=hour, minutes=1)
        is_changed = hour < 4
        add_drift(sessions, model, release, changed if is_changed else same, window="day", made_at=made_at)
        for window, rows in (("day", 240), ("week", 1764), ("month", 5220)):
            rise = 0.02 * max(0, 6 - hour) if window != "month" else 0.0
            metrics = {
                "MAE": interval(0.40 + rise + 0.01 * float(draw.normal()), 0.05),
                "RMSE": interval(0.61 + rise + 0.01 * float(draw.normal()), 0.06),
                "SMAPE": interval(0.25 + rise / 2 + 0.005 * float(draw.normal()), 0.03),
                "R2": {"value": None, "low": None, "high": None, "reason": "the true values are all equal"}
                if window == "day"
                else interval(0.81 - rise, 0.03),
            }
            decayed = {"status": "decay", "reason": "SMAPE is 0.31 (0.28 to 0.34), at its gate it was 0.25"}
            add_quality(
                sessions,
                model,
                release,
                metrics,
                window=window,
                rows=rows,
                recorded=int(rows * 2.4),
                made_at=made_at,
                **(decayed if window == "week" and hour < 2 else {}),
            )
    add_drift(sessions, model, live, changed, window="newest")
    record_answers(sessions, model, before, now - timedelta(hours=15), draw.normal(3, 1, 400).tolist())
    record_answers(sessions, model, live, now - timedelta(minutes=5), draw.normal(3.6, 1.2, 400).tolist())
    with sessions.begin() as session:
        session.add(
            MonitorState(
                model=model,
                release_id=live,
                checked_at=now - timedelta(minutes=1),
                suspicion={},
                drift_since=now - timedelta(hours=3),
                drift_reason=changed.reason,
                decay_since=now - timedelta(hours=1),
                decay_reason="SMAPE is 0.31 (0.28 to 0.34) on 1,764 rows, at its gate it was 0.25",
            )
        )
        for trigger, state, reason in (
            (Trigger.SCHEDULE, RetrainingState.UNCHANGED, "the schedule 0 3 * * 1 (UTC) was due"),
            (Trigger.DRIFT, RetrainingState.SUGGESTED, changed.reason),
        ):
            session.add(
                Retraining(
                    model=model,
                    trigger=trigger,
                    occasion=trigger,
                    state=state,
                    reason=reason,
                    commit="a" * 40,
                    live_release=live,
                )
            )
