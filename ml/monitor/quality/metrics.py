"""One metric with its interval, as it is answered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ml.monitor.quality.bootstrap import Interval

NO_INTERVAL = "too many draws of the bootstrap leave it undefined"


@dataclass(frozen=True)
class Metric:
    """A metric; where it is None, the reason says why, and where it has no interval as well."""

    value: float | None
    low: float | None
    high: float | None
    rows: int
    reason: str | None = None


def undefined(reason: str, rows: int) -> Metric:
    return Metric(None, None, None, rows, reason)


def join_interval(value: float, interval: Interval, place: int, rows: int) -> Metric:
    """Return a metric with its interval, with None in place of what is no finite number."""
    if not math.isfinite(value):
        return undefined("it is no finite number on these rows", rows)
    low, high = float(interval.low[place]), float(interval.high[place])
    if not (math.isfinite(low) and math.isfinite(high)):
        return Metric(value, None, None, rows, NO_INTERVAL)
    # the value is among what may be drawn, whatever a skewed bootstrap leaves out
    return Metric(value, min(low, value), max(high, value), rows)


def to_document(metrics: Mapping[str, Metric]) -> dict[str, dict[str, Any]]:
    return {name: asdict(metric) for name, metric in metrics.items()}


def join_all(
    values: Mapping[str, float], interval: Interval, rows: int, undefined_names: Mapping[str, str]
) -> dict[str, Metric]:
    """Return each metric; those in `undefined_names` have a reason in place of a value."""
    places: Sequence[str] = list(values)
    return {
        name: undefined(undefined_names[name], rows)
        if name in undefined_names
        else join_interval(values[name], interval, places.index(name), rows)
        for name in places
    }
