"""The charts of the monitor's page, from its document."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from common.figures import format_short
from db.monitor_history import DRIFT_WINDOWS
from db.monitor_models import DriftWindow
from ml.web.drift_strength import STATISTICS, find_strongest, to_number
from ml.web.monitor_document import list_metric_names, to_gate_name
from ml.web.pages.distribution_chart import DistributionChart, build_distribution
from ml.web.pages.render import format_utc, parse_time
from ml.web.pages.time_chart import Measurement, TimeChart, TimeFrame, draw_time
from ml.web.serializers import Document

MAX_DRAWN = 24  # columns of a window
SEVERITY = ("too few", "same", "suspected", "drift")


@dataclass(frozen=True)
class MetricChart:
    """One metric over time, with what was measured, newest first."""

    metric: str
    chart: TimeChart | None
    rows: list[tuple[Document, Document]]  # a window and the metric in it


class StatisticLine(NamedTuple):
    """One statistic of a column for the table."""

    name: str
    value: float
    threshold: float


@dataclass(frozen=True)
class ColumnChart:
    """One column of a drift window."""

    finding: Document
    strength: float
    comparisons: list[StatisticLine]
    chart: DistributionChart | None


@dataclass(frozen=True)
class MonitorCharts:
    quality: list[MetricChart]
    drift: TimeChart | None
    columns: list[ColumnChart]  # that are drawn, worst first
    others: list[ColumnChart]  # for the table alone
    predictions: DistributionChart | None


def choose_drift_window(newest: Sequence[DriftWindow]) -> str:
    """Return the window that is shown column by column: the one with the worse status, else the day's."""
    order = {name: place for place, name in enumerate(SEVERITY)}
    found = max(newest, key=lambda one: (order.get(one.status, 0), one.window == "day"), default=None)
    return found.window if found else DRIFT_WINDOWS[-1]


def build_charts(document: Document, gate_metrics: Mapping[str, float]) -> MonitorCharts:
    """Return every chart of the page."""
    traffic = document["traffic"]
    frame = TimeFrame(
        parse_time(traffic["from"]),
        parse_time(traffic["to"]),
        [(made["release"], parse_time(made["live_at"])) for made in traffic["deployments"]],
    )
    points, newest = document["quality"]["points"], document["quality"]["newest"]
    shown = next(
        (one for one in document["drift"]["newest"] if one["window"] == document["drift"]["window"]), None
    )
    columns = [build_column(finding) for finding in (shown or {}).get("columns", ())]
    predictions = document["predictions"]
    return MonitorCharts(
        [
            build_metric(name, points, frame, document["release"], gate_metrics)
            for name in list_metric_names([*newest, *points], gate_metrics)
        ],
        build_drift(document["drift"]["points"], frame),
        columns[:MAX_DRAWN],
        columns[MAX_DRAWN:],
        build_distribution(
            predictions["distribution"], f"not predicted by release {predictions['before']['release']}"
        )
        if predictions
        else None,
    )


def build_metric(
    name: str,
    points: Sequence[Document],
    frame: TimeFrame,
    live: int | None,
    gate_metrics: Mapping[str, float],
) -> MetricChart:
    """Return the chart of a metric; where the gate has one of this name, with that as a line."""
    rows = [(one, one["metrics"][name]) for one in points if name in one["metrics"]]
    measured = [
        Measurement(
            parse_time(one["at"]),
            metric["value"],
            metric["low"],
            metric["high"],
            "bad" if one["status"] == "decay" else "live" if one["release"] == live else "earlier",
            f"release {one['release']}, {format_utc(one['at'])}: {describe_metric(metric)}",
            one["release"],
        )
        for one, metric in rows
        if metric["value"] is not None
    ]
    gate = next(
        (
            value
            for given, value in gate_metrics.items()
            if given.lower() == to_gate_name(name) and math.isfinite(value)
        ),
        None,
    )
    level = (gate, f"{format_short(gate)} at the gate of the live release") if gate is not None else None
    return MetricChart(name, draw_time(measured, frame, level), rows[::-1])


def describe_metric(metric: Document) -> str:
    if metric["low"] is None or metric["high"] is None:
        return format_short(metric["value"])
    return (
        f"{format_short(metric['value'])} ({format_short(metric['low'])} to {format_short(metric['high'])})"
    )


def build_drift(points: Sequence[Document], frame: TimeFrame) -> TimeChart | None:
    """Return the largest change over time; the line across is the threshold."""
    states = {"drift": "bad", "suspected": "wait"}
    measured = [
        Measurement(
            parse_time(one["at"]),
            one["strength"],
            None,
            None,
            states.get(one["status"], "live"),
            f"{format_utc(one['at'])}: {one['status']}, {one['strength']:.2f} of the threshold",
            one["release"],
        )
        for one in points
        if one["strength"] is not None
    ]
    return draw_time(measured, frame, (1.0, "threshold"), zero=True)


def build_column(finding: Mapping[str, Any]) -> ColumnChart:
    comparisons = finding.get("comparisons") or ()
    return ColumnChart(
        dict(finding),
        find_strongest(comparisons),
        [
            StatisticLine(
                STATISTICS.get(one.get("statistic"), "another statistic"),
                to_number(one.get("value")),
                to_number(one.get("threshold")),
            )
            for one in comparisons
        ],
        build_distribution(finding.get("distribution"), "not in the baseline"),
    )
