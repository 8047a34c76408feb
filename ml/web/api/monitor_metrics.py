"""The Prometheus metrics of the monitor: its newest measurements, read at most every few seconds."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from db.monitor_metrics import DriftSummary, MonitorSummary, QualitySummary
from db.monitor_models import MonitorState
from ml.web.drift_strength import find_strongest

CACHE_SECONDS = 10.0
MAX_METRICS = 20  # of one window: names are partly the model's own
MAX_NAME_CHARS = 100


class MonitorMetrics(Collector):
    """The collector of what was measured last; `read_summary` reads it, None while it cannot."""

    def __init__(self, read_summary: Callable[[], MonitorSummary | None]) -> None:
        self._read_summary = read_summary
        self._lock = Lock()
        self._read_at = -math.inf
        self._summary: MonitorSummary | None = None

    def find_summary(self) -> MonitorSummary:
        """Return what was measured last, at most `CACHE_SECONDS` old."""
        with self._lock:
            if time.monotonic() - self._read_at > CACHE_SECONDS:
                self._summary, self._read_at = self._read_summary(), time.monotonic()
            return self._summary or MonitorSummary()

    def collect(self) -> Iterator[Metric]:
        summary = self.find_summary()
        yield from collect_states(summary.states)
        yield from collect_drift(summary.drift)
        yield from collect_quality(summary.quality)


def collect_states(states: Iterable[MonitorState]) -> Iterator[Metric]:
    checked = GaugeMetricFamily(
        "slipway_monitor_checked_timestamp_seconds", "When the monitor measured it last", labels=["model"]
    )
    failed = GaugeMetricFamily(
        "slipway_monitor_failed", "1 while the last measurement failed", labels=["model"]
    )
    drift = GaugeMetricFamily("slipway_drift", "1 while there is drift", labels=["model"])
    decay = GaugeMetricFamily("slipway_decay", "1 while the quality decays", labels=["model"])
    for state in states:
        if state.checked_at is not None:
            checked.add_metric([state.model], state.checked_at.timestamp())
        failed.add_metric([state.model], state.problem is not None)
        drift.add_metric([state.model], state.drift_since is not None)
        decay.add_metric([state.model], state.decay_since is not None)
    yield from (checked, failed, drift, decay)


def collect_drift(windows: Iterable[DriftSummary]) -> Iterator[Metric]:
    """Yield the worst column of each window, and no more of them: columns have names of the model."""
    labels = ["model", "window"]
    worst = GaugeMetricFamily(
        "slipway_drift_worst_ratio", "The largest change of a column; 1 is the threshold", labels=labels
    )
    rows = GaugeMetricFamily("slipway_drift_rows", "Rows of the newest window", labels=labels)
    for one in windows:
        if one.worst:
            worst.add_metric([one.model, one.window], find_strongest(one.worst))
        rows.add_metric([one.model, one.window], one.rows)
    yield from (worst, rows)


def collect_quality(windows: Iterable[QualitySummary]) -> Iterator[Metric]:
    labels = ["model", "window"]
    value, low, high = (
        GaugeMetricFamily(f"slipway_quality{suffix}", text, labels=[*labels, "metric"])
        for suffix, text in (
            ("", "A metric on recorded predictions with ground truth"),
            ("_low", "The lower end of its 95 % interval"),
            ("_high", "The upper end of its 95 % interval"),
        )
    )
    rows = GaugeMetricFamily("slipway_quality_rows", "Rows that have ground truth", labels=labels)
    coverage = GaugeMetricFamily(
        "slipway_ground_truth_coverage_ratio",
        "The share of answered rows that have ground truth",
        labels=labels,
    )
    for one in windows:
        named = {name[:MAX_NAME_CHARS]: metric for name, metric in list(one.metrics.items())[:MAX_METRICS]}
        for name, metric in named.items():  # each name once: Prometheus takes no sample twice
            given = metric if isinstance(metric, dict) else {}
            for family, end in ((value, "value"), (low, "low"), (high, "high")):
                if (number := read_number(given.get(end))) is not None:
                    family.add_metric([one.model, one.window, name], number)
        rows.add_metric([one.model, one.window], one.rows)
        if one.recorded > 0:
            coverage.add_metric([one.model, one.window], one.rows / one.recorded)
    yield from (value, low, high, rows, coverage)


def read_number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e300 else None
