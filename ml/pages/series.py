"""Whether a prediction is a series, and what its table and its line are drawn from."""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any


@dataclass(frozen=True)
class Point:
    label: str
    at: float  # seconds since 1970
    value: float


def points(prediction: Any) -> list[Point] | None:
    """The points of a list of [timestamp, value] pairs; None when it is anything else."""
    if not isinstance(prediction, list) or not prediction or not all(map(is_pair, prediction)):
        return None
    try:
        moments = [moment(text) for text, _ in prediction]
    except ValueError:
        return None
    days = all(at.time() == time() for at in moments)
    return [
        Point(f"{at:%a %Y-%m-%d}" if days else text.replace("T", " "), at.timestamp(), float(value))
        for at, (text, value) in zip(moments, prediction, strict=True)
    ]


def is_pair(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], (int, float))
        and not isinstance(value[1], bool)
    )


def moment(text: str) -> datetime:
    """Raises `ValueError` when it is none; a time without a zone is drawn as it is written."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
