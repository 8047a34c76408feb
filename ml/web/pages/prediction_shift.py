"""How the recorded predictions of the live release differ from those of the release before it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from db import monitor_history
from db.monitor_history import LivePeriod
from ml.monitor.drift.baseline import PREDICTION, measure_column
from ml.monitor.drift.distribution import compare_distributions
from ml.web.serializers import Document, format_time

MIN_ANSWERS = 30


@dataclass(frozen=True)
class ReleaseAnswers:
    period: LivePeriod
    answers: Sequence[Any]

    def to_document(self) -> Document:
        return {
            "release": self.period.release,
            "from": format_time(self.period.start),
            "to": format_time(self.period.end),
            "predictions": len(self.answers),
        }


def compare_releases(session: Session, model: str, now: datetime) -> Document | None:
    """Return both releases and how their predictions are distributed; None before there are two.

    The distribution is null where a release has too few predictions.
    """
    periods = monitor_history.find_live_periods(session, model)
    if len(periods) < 2:
        return None
    live, before = (
        ReleaseAnswers(period, monitor_history.list_answers(session, model, period, now))
        for period in periods
    )
    return {
        "live": live.to_document(),
        "before": before.to_document(),
        "needed": MIN_ANSWERS,
        "distribution": compare_answers(before.answers, live.answers),
    }


def compare_answers(before: Sequence[Any], now: Sequence[Any]) -> Document | None:
    if min(len(before), len(now)) < MIN_ANSWERS:
        return None
    measured = measure_column(PREDICTION, [simplify_answer(answer) for answer in before])
    compared = measure_column(PREDICTION, [simplify_answer(answer) for answer in now], measured.kind)
    found = compare_distributions(measured, compared)
    return asdict(found) if found else None


def simplify_answer(answer: Any) -> Any:
    """Return the likeliest class of probabilities, and the mean of a series; else the answer."""
    if isinstance(answer, dict) and answer and all(map(is_number, answer.values())):
        return max(answer, key=lambda name: answer[name])
    if isinstance(answer, list) and answer:
        points = [point[-1] if isinstance(point, list) and len(point) == 2 else point for point in answer]
        if all(map(is_number, points)):
            return math.fsum(float(point) / len(points) for point in points)
    return answer


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
