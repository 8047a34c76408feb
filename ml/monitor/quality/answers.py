"""What an answer and a true value mean for each kind of model; standard library only."""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time
from typing import Any, NamedTuple

MAX_NUMBER = 1e100  # of either sign; what is larger counts as this: sums of squares are still finite
MAX_LABEL_CHARS = 200
MAX_CLASSES = 1000  # of one answer with probabilities
MAX_POINTS = 10_000  # of one forecast
MAX_TIME_CHARS = 64
MAX_SECONDS = 2e11  # about the year 8300
SUM_TOLERANCE = 0.01  # of probabilities
ANSWER_KEYS = ("prediction", "label", "class", "value")  # that an answer may stand below
PLAIN_NUMBER = re.compile(r"-?(0|[1-9]\d{0,30})(\.\d{1,30})?", re.ASCII)

Point = tuple[float, float]  # seconds since 1970, value


class MatchedPoint(NamedTuple):
    """One point of a forecast, with its true value."""

    at: float | None  # seconds since 1970
    forecast: float
    truth: float


class ClassAnswer(NamedTuple):
    """The label that a classifier answered, and the probability of each class where it gave these."""

    label: str | None  # None: the answer is none
    probabilities: Mapping[str, float] | None = None


def parse_number(value: Any) -> float | None:
    """Return a number that statistics can add: None of what is none, infinity and the like as the largest."""
    value = unwrap(value)
    if type(value) not in (int, float) or value != value:  # noqa: PLR0124 (NaN)
        return None
    try:
        return min(max(float(value), -MAX_NUMBER), MAX_NUMBER)
    except OverflowError:
        return math.copysign(MAX_NUMBER, 1 if value > 0 else -1)


def unwrap(value: Any) -> Any:
    """Return the one value in a list of one element, or below a usual key of an object."""
    for _ in range(3):
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        elif isinstance(value, dict):
            found = [value[key] for key in ANSWER_KEYS if key in value]
            if len(found) != 1:
                break
            value = found[0]
        else:
            break
    return value


def parse_label(value: Any) -> str | None:
    """Return a class as text: 1, 1.0 and "1" are one, as JSON's keys are texts; None of what is no label."""
    value = unwrap(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        number = parse_number(value)
        return None if number is None else format_number(number)
    if not isinstance(value, str):
        return None
    if value in ("True", "False"):  # as Python writes a key
        return value.lower()
    if PLAIN_NUMBER.fullmatch(value):
        return format_number(float(value))
    return value[:MAX_LABEL_CHARS]


def format_number(number: float) -> str:
    return repr(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def parse_class(answer: Any) -> ClassAnswer:
    """Return the label of an answer, the likeliest one where it has probabilities alone."""
    probabilities = parse_probabilities(answer)
    if probabilities is None:
        return ClassAnswer(parse_label(answer))
    named = [answer[key] for key in ANSWER_KEYS if key in answer] if isinstance(answer, dict) else []
    label = parse_label(named[0]) if len(named) == 1 and not is_probability(answer) else None
    if label is None:
        label = max(probabilities, key=lambda one: probabilities[one])
    return ClassAnswer(label, probabilities)


def is_probability(answer: Any) -> bool:
    """Return whether an object has a probability for each key, and no other member."""
    return isinstance(answer, dict) and all(map(is_share, answer.values()))


def parse_probabilities(answer: Any) -> dict[str, float] | None:
    """Return the probability of each class: of an object, its `probabilities`, a list by place."""
    if isinstance(answer, dict) and isinstance(answer.get("probabilities"), dict | list):
        answer = answer["probabilities"]
    if isinstance(answer, list):
        answer = {str(place): share for place, share in enumerate(answer[: MAX_CLASSES + 1])}
    if not isinstance(answer, dict) or not 2 <= len(answer) <= MAX_CLASSES:
        return None
    if not all(map(is_share, answer.values())) or abs(sum(answer.values()) - 1) > SUM_TOLERANCE:
        return None
    labels = {parse_label(name) or "": float(share) for name, share in answer.items()}
    return labels if len(labels) == len(answer) else None  # two names of one class


def is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def parse_series(value: Any) -> list[Point] | None:
    """Return a forecast's points: [time, value, ...] rows, objects with `ds` and `yhat`, or time → value."""
    if isinstance(value, dict):
        value = list(map(list, value.items()))
    if not isinstance(value, list) or not value or len(value) > MAX_POINTS:
        return None
    points = [*parse_points(value)]
    return points if len(points) == len(value) else None


def parse_points(rows: list[Any]) -> Iterator[Point]:
    for row in rows:
        if isinstance(row, dict):
            moment, value = row.get("ds"), row.get("yhat", row.get("y"))
        elif isinstance(row, list) and len(row) >= 2:
            moment, value = row[:2]
        else:
            return
        at, number = parse_time(moment), parse_number(value)
        if at is None or number is None:
            return
        yield at, number


def parse_time(text: Any) -> float | None:
    """Return a time in seconds since 1970; one without a zone counts as UTC."""
    if not isinstance(text, str) or len(text) > MAX_TIME_CHARS:
        return None
    try:
        at = datetime.fromisoformat(text)
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if abs(seconds) < MAX_SECONDS else None


def match_series(answer: Any, truth: Any, at: str | None) -> list[MatchedPoint] | None:
    """Return each point of a forecast whose truth is there; None where nothing matches.

    The truth is a series like the answer, or the number of the time `at`: then of that very time, of that day
    where the forecast has one point a day, or of the only point. A forecast may be a number alone.
    """
    forecast = parse_series(answer)
    if forecast is None:
        return match_number(answer, truth, at)
    by_time = dict(forecast)
    known = parse_series(truth)
    if known is not None:
        return [MatchedPoint(when, by_time[when], value) for when, value in known if when in by_time] or None
    number = parse_number(truth)
    when = find_point(forecast, parse_time(at))
    return None if number is None or when is None else [MatchedPoint(when, by_time[when], number)]


def match_number(answer: Any, truth: Any, at: str | None) -> list[MatchedPoint] | None:
    forecast, value = parse_number(answer), parse_number(truth)
    return None if forecast is None or value is None else [MatchedPoint(parse_time(at), forecast, value)]


def find_point(forecast: list[Point], at: float | None) -> float | None:
    """Return the time of the point that a single true value belongs to."""
    if at is None:
        return forecast[0][0] if len(forecast) == 1 else None
    times = {when for when, _ in forecast}
    if at in times:
        return at
    if not all(datetime.fromtimestamp(when, UTC).time() == time() for when in times):
        return None
    day = datetime.fromtimestamp(at, UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    return day if day in times else None
