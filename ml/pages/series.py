"""What a prediction is shown as: a series with its table and its line, or classes with probabilities."""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

LEAST, BESIDE = 60, 3  # known points that are drawn: so many, or so many for each that is forecast
DRAWN = 2000  # points of each series in a chart; the CSV has them all


@dataclass(frozen=True)
class Point:
    when: str  # as the model gave it
    label: str
    at: float  # seconds since 1970
    value: float
    low: float | None = None  # the band, when the model gives one
    high: float | None = None


def points(prediction: Any) -> list[Point] | None:
    """Of [timestamp, value] or [timestamp, value, low, high] rows; None when it is anything else."""
    if not isinstance(prediction, list) or not prediction or not all(map(is_row, prediction)):
        return None
    try:
        moments = [moment(row[0]) for row in prediction]
    except ValueError:
        return None
    days = all(at.time() == time() for at in moments)
    return [
        Point(
            text,
            f"{at:%a %Y-%m-%d}" if days else text.replace("T", " "),
            at.timestamp(),
            *map(float, numbers),
        )
        for at, (text, *numbers) in zip(moments, prediction, strict=True)
    ]


def before(history: Any, forecast: list[Point]) -> list[Point]:
    """The newest of the known series, as much as a chart has room for beside this forecast."""
    known = sorted(points(history) or [], key=lambda point: point.at)
    return known[-max(LEAST, BESIDE * len(forecast)) :]


def chart(known: list[Point], forecast: list[Point]) -> dict[str, list[float | None]]:
    """Columns for the chart: the moments of both in their order, and what is there at each."""
    then = {point.at: point for point in thinned(known)}
    now = {point.at: point for point in thinned(forecast)}
    at = sorted(then.keys() | now.keys())
    return {
        "at": [*at],
        "known": [short(then.get(moment), "value") for moment in at] if known else [],
        **{name: [short(now.get(moment), name) for moment in at] for name in ("value", "low", "high")},
    }


def thinned(series: list[Point]) -> list[Point]:
    """Every so many-th of a series that has more points than a screen."""
    return series[:: -(-len(series) // DRAWN) or 1]


def short(point: Point | None, name: str) -> float | None:
    """As many digits as can be seen: a page stays light."""
    value = getattr(point, name, None)
    return None if value is None else float(f"{value:.6g}")


def table(known: list[Point], forecast: list[Point]) -> str:
    """Both as CSV, with every digit."""
    band = any(point.low is not None for point in forecast)
    rows = [("when", "known", "prediction", *(("low", "high") if band else ()))]
    rows += [(point.when, repr(point.value), "", *(("", "") if band else ())) for point in known]
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


def shares(prediction: Any) -> list[tuple[str, float]] | None:
    """Classes with their probabilities, likeliest first; None when it is anything else."""
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


def moment(text: str) -> datetime:
    """Raises `ValueError` when it is none; a time without a zone is drawn as it is written."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
