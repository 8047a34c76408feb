"""Rendering of a prediction: a series with its table and its line, or classes with probabilities."""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

# points of the history that are drawn: so many, or so many for each forecast point
MIN_HISTORY_POINTS, HISTORY_POINTS_PER_FORECAST = 60, 3
MAX_CHART_POINTS = 1600  # points of each series in a chart; the CSV has them all


@dataclass(frozen=True)
class Point:
    when: str  # as the model gave it
    label: str
    at: float  # seconds since 1970
    value: float
    low: float | None = None  # the band, when the model gives one
    high: float | None = None


def parse_points(prediction: Any) -> list[Point] | None:
    """Parse [timestamp, value] or [timestamp, value, low, high] rows, or Prophet's; None of anything else."""
    if isinstance(prediction, list):
        prediction = [parse_prophet_row(row) for row in prediction]
    if not isinstance(prediction, list) or not prediction or not all(map(is_row, prediction)):
        return None
    try:
        moments = [parse_time(row[0]) for row in prediction]
        numbers = [list(map(float, row[1:])) for row in prediction]
    except (ValueError, OverflowError):  # no time, or a number beyond what can be drawn
        return None
    days = all(at.time() == time() for at in moments)
    return [
        Point(
            text,
            f"{at:%a %Y-%m-%d}" if days else text.replace("T", " "),
            at.timestamp(),
            *values,
        )
        for at, (text, *_), values in zip(moments, prediction, numbers, strict=True)
    ]


def select_history(history: Any, forecast: list[Point]) -> list[Point]:
    """Return the newest points of the history, as many as a chart has room for next to this forecast."""
    points = sorted(parse_points(history) or [], key=lambda point: point.at)
    return points[-max(MIN_HISTORY_POINTS, HISTORY_POINTS_PER_FORECAST * len(forecast)) :]


def build_chart(history: list[Point], forecast: list[Point]) -> dict[str, list[float | None]]:
    """Return the chart's columns: the times of both series in order, and the values at each."""
    then = {point.at: point for point in downsample(history)}
    now = {point.at: point for point in downsample(forecast)}
    at = sorted(then.keys() | now.keys())
    return {
        "at": [*at],
        "known": [round_value(then.get(moment), "value") for moment in at] if history else [],
        **{name: [round_value(now.get(moment), name) for moment in at] for name in ("value", "low", "high")},
    }


def downsample(series: list[Point]) -> list[Point]:
    """Return every n-th point of a series that has more points than a screen."""
    return series[:: -(-len(series) // MAX_CHART_POINTS) or 1]


def round_value(point: Point | None, name: str) -> float | None:
    """Return a value with as many digits as can be seen, which keeps the page small."""
    value = getattr(point, name, None)
    return None if value is None else float(f"{value:.6g}")


def to_csv(history: list[Point], forecast: list[Point]) -> str:
    """Return both series as CSV, with every digit."""
    band = any(point.low is not None for point in forecast)
    rows = [("when", "known", "prediction", *(("low", "high") if band else ()))]
    rows += [(point.when, repr(point.value), "", *(("", "") if band else ())) for point in history]
    for point in forecast:
        ends = (repr(point.low), repr(point.high)) if band else ()
        rows.append((point.when, "", repr(point.value), *ends))
    return "".join(",".join(row) + "\n" for row in rows)


def is_row(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (2, 4)
        and isinstance(value[0], str)
        and all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in value[1:])
    )


def parse_prophet_row(row: Any) -> Any:
    """Convert a row of the columns `ds`, `yhat` and its band to a list; return anything else unchanged."""
    if not isinstance(row, dict) or not row.keys() >= {"ds", "yhat"}:
        return row
    return [row[name] for name in ("ds", "yhat", "yhat_lower", "yhat_upper") if name in row]


def parse_probabilities(prediction: Any) -> list[tuple[str, float]] | None:
    """Return classes with their probabilities, likeliest first; None when it is anything else."""
    if isinstance(prediction, dict) and isinstance(prediction.get("probabilities"), dict):
        prediction = prediction["probabilities"]
    if not isinstance(prediction, dict) or len(prediction) < 2:
        return None
    values = list(prediction.values())
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and 0 <= v <= 1 for v in values):
        return None
    if abs(sum(values) - 1) > 0.01:
        return None
    return sorted(prediction.items(), key=lambda share: -share[1])


def parse_time(text: str) -> datetime:
    """Parse a time; one without a zone is drawn as it is written. Raises `ValueError` when it is none."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
