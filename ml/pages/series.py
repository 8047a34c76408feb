"""Whether a prediction is a series, and what its table and its line are drawn from."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Point:
    label: str
    at: float  # seconds since 1970
    value: float


def points(prediction: Any) -> list[Point] | None:
    """The points of a list of [timestamp, value] pairs; None when it is anything else."""
    if not isinstance(prediction, list) or not prediction:
        return None
    found = [point(pair) for pair in prediction]
    return [p for p in found if p is not None] if None not in found else None


def point(pair: Any) -> Point | None:
    if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
        return None
    value = pair[1]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        moment = datetime.fromisoformat(pair[0])
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Point(label(pair[0], moment), moment.timestamp(), float(value))


def label(text: str, moment: datetime) -> str:
    """A day when it is midnight, with the weekday; else the time as it was given."""
    if (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0):
        return f"{moment:%a %Y-%m-%d}"
    return text.replace("T", " ")
