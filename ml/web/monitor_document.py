"""What the monitor measured of a model as JSON, for programs and for the page."""

import math
from collections.abc import Collection, Sequence
from typing import Any

from db.monitor_history import DriftPoint
from db.monitor_models import DriftWindow, MonitorState, QualityWindow
from ml.metric_names import OWN_PREFIX
from ml.web.drift_strength import find_strongest
from ml.web.serializers import Document, format_time

MAX_COLUMNS = 200  # of a window
MAX_METRICS = 20
MAX_VALUE = 1e300  # of either sign, so that a chart has room around it


def serialize_state(state: MonitorState | None) -> Document:
    """Return what lasts of a model: drift and decay with their beginning, and why it was not measured."""
    return {
        "checked_at": format_time(state.checked_at) if state else None,
        "problem": state.problem if state else None,
        "drift": serialize_lasting(state.drift_since, state.drift_reason) if state else None,
        "decay": serialize_lasting(state.decay_since, state.decay_reason) if state else None,
    }


def serialize_lasting(since: Any, reason: str | None) -> Document | None:
    return None if since is None else {"since": format_time(since), "reason": reason}


def serialize_drift_window(window: DriftWindow) -> Document:
    return {
        "window": window.window,
        "release": window.release_id,
        "made_at": format_time(window.made_at),
        "from": format_time(window.begins_at),
        "to": format_time(window.ends_at),
        "rows": window.rows,
        "calls": window.calls,
        "status": window.status,
        "reason": window.reason,
        "columns": window.findings[:MAX_COLUMNS],
        "left_out": max(0, len(window.findings) - MAX_COLUMNS),
    }


def serialize_drift_point(point: DriftPoint) -> Document:
    """Return an earlier window with the largest change of its worst column, in thresholds."""
    return {
        "at": format_time(point.made_at),
        "release": point.release_id,
        "rows": point.rows,
        "status": point.status,
        "reason": point.reason,
        "strength": round(find_strongest(point.worst), 3) if point.worst else None,
    }


def serialize_quality(window: QualityWindow) -> Document:
    """Return the metrics of a window, with the share of answered rows that have ground truth."""
    return {
        "window": window.window,
        "release": window.release_id,
        "at": format_time(window.made_at),
        "from": format_time(window.begins_at),
        "to": format_time(window.ends_at),
        "recorded": window.recorded,
        "rows": window.rows,
        "coverage": round(window.rows / window.recorded, 4) if window.recorded > 0 else None,
        "kind": window.kind,
        "status": window.status,
        "reason": window.reason,
        "metrics": serialize_metrics(window.metrics),
    }


def serialize_metrics(stored: dict[str, Any]) -> dict[str, Document]:
    """Return each metric with its interval; numbers that JSON or a chart cannot have are null."""
    found = {}
    for name, metric in list(stored.items())[:MAX_METRICS]:
        given = metric if isinstance(metric, dict) else {}
        ends = {end: read_value(given.get(end)) for end in ("value", "low", "high")}
        found[name] = {**ends, "reason": given.get("reason")}
    return found


def read_value(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value) if abs(value) <= MAX_VALUE else None


def list_metric_names(measured: Sequence[Document], first: Collection[str]) -> list[str]:
    """Return the names of all metrics: those like one of `first` in that order, the others by name."""
    order = {name.lower(): place for place, name in enumerate(first)}
    names = {name for one in measured for name in one["metrics"]}
    return sorted(names, key=lambda name: (order.get(to_gate_name(name), len(order)), name))[:MAX_METRICS]


def to_gate_name(name: str) -> str:
    """Return the name, in lower case, by which the gate may have measured the same."""
    return name.removeprefix(OWN_PREFIX).lower()
