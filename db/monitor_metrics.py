"""What the monitor measured last of each model, as Prometheus gets it: three queries for all models."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.monitor_history import DRIFT_WINDOWS, QUALITY_WINDOWS, list_states
from db.monitor_models import MonitorState

NEWEST_DRIFT = text("""
    SELECT named.model, kind.name, newest.rows, newest.made_at, newest.worst
    FROM unnest(CAST(:models AS text[])) AS named (model)
    CROSS JOIN unnest(CAST(:windows AS text[])) AS kind (name)
    CROSS JOIN LATERAL (
        SELECT rows, made_at, coalesce(findings -> 0 -> 'comparisons', '[]') AS worst
        FROM drift_windows WHERE drift_windows.model = named.model AND "window" = kind.name
        ORDER BY made_at DESC LIMIT 1
    ) AS newest
""")
NEWEST_QUALITY = text("""
    SELECT named.model, kind.name, newest.recorded, newest.rows, newest.metrics
    FROM unnest(CAST(:models AS text[])) AS named (model)
    CROSS JOIN unnest(CAST(:windows AS text[])) AS kind (name)
    CROSS JOIN LATERAL (
        SELECT release_id FROM deployments
        WHERE deployments.model = named.model AND state = 'live' ORDER BY id DESC LIMIT 1
    ) AS live
    CROSS JOIN LATERAL (
        SELECT recorded, rows, metrics
        FROM quality_windows
        WHERE quality_windows.model = named.model AND "window" = kind.name
            AND quality_windows.release_id = live.release_id
        ORDER BY made_at DESC LIMIT 1
    ) AS newest
""")


@dataclass(frozen=True)
class DriftSummary:
    """The newest window of a kind; `worst` has the comparisons of its worst column."""

    model: str
    window: str
    rows: int
    made_at: datetime
    worst: list[dict[str, Any]]


@dataclass(frozen=True)
class QualitySummary:
    """The newest window of a kind, of the live release."""

    model: str
    window: str
    recorded: int
    rows: int
    metrics: dict[str, Any]


@dataclass(frozen=True)
class MonitorSummary:
    """The last measurements of some models."""

    states: Sequence[MonitorState] = ()
    drift: Sequence[DriftSummary] = ()
    quality: Sequence[QualitySummary] = ()


def summarize(session: Session, models: Sequence[str]) -> MonitorSummary:
    """Return the state of each of these models, and the newest of each kind of window."""
    drift = session.execute(NEWEST_DRIFT, {"models": list(models), "windows": list(DRIFT_WINDOWS)})
    quality = session.execute(NEWEST_QUALITY, {"models": list(models), "windows": list(QUALITY_WINDOWS)})
    return MonitorSummary(
        list_states(session, models),
        [DriftSummary(*row) for row in drift],
        [QualitySummary(*row) for row in quality],
    )
