"""One run of the quality process: it reads a request, and returns the metrics of each release as JSON."""

from collections.abc import Sequence
from typing import IO, Any

from ml.monitor.quality.answers import MatchedPoint, match_series, parse_class, parse_label, parse_number
from ml.monitor.quality.request import VERSION, AnsweredRow, MetricKind, read_request

MIN_ROWS = 50  # with ground truth, of a release in a window
MIN_DATES = 14  # of a time series
MAX_POINTS = 200_000  # of all its rows: what follows is left out
MIN_CALLS = 20  # fewer clusters say too little of how rows of one call resemble each other

Json = dict[str, Any]


def answer_request(file: IO[bytes]) -> Json:
    """Return the metrics; raises RequestError."""
    request = read_request(file)
    releases = {
        str(release): measure_release(kind, request.rows[release], request.seed)
        for release, kind in request.kinds.items()
    }
    return {"version": VERSION, "releases": releases}


def measure_release(kind: MetricKind, rows: Sequence[AnsweredRow], seed: int) -> Json:
    """Return the metrics of one release, or the reason why it has none."""
    match kind:
        case MetricKind.REGRESSION:
            return measure_regression(rows, seed)
        case MetricKind.CLASSIFICATION:
            return measure_classification(rows, seed)
        case MetricKind.TIME_SERIES:
            return measure_time_series(rows, seed)
    reason = "a generic model has no metrics: set type in [model] of slipway.toml"
    return to_answer(rows, rows, {}, reason)


def measure_regression(rows: Sequence[AnsweredRow], seed: int) -> Json:
    found = [(row, parse_number(row.truth), parse_number(row.answer)) for row in rows]
    numbers = [
        (row, truth, answer) for row, truth, answer in found if truth is not None and answer is not None
    ]
    usable = [row for row, _, _ in numbers]
    if lacking := explain_too_few(usable):
        return to_answer(rows, usable, {}, lacking)
    import numpy as np  # noqa: PLC0415 (a request that cannot be answered does not wait for it)

    from ml.monitor.quality.metrics import to_document  # noqa: PLC0415
    from ml.monitor.quality.regression import measure_numbers  # noqa: PLC0415

    truth, answers = np.array([one[1] for one in numbers]), np.array([one[2] for one in numbers])
    metrics = measure_numbers(truth, answers, [[row.call for row in usable]], seed)
    return to_answer(rows, usable, to_document(metrics))


def measure_classification(rows: Sequence[AnsweredRow], seed: int) -> Json:
    found = [(row, parse_label(row.truth), parse_class(row.answer)) for row in rows]
    labels = [(row, truth, answer) for row, truth, answer in found if truth is not None]
    usable = [row for row, _, _ in labels]
    if lacking := explain_too_few(usable):
        return to_answer(rows, usable, {}, lacking)
    from ml.monitor.quality.classification import measure_classes  # noqa: PLC0415 (the same)
    from ml.monitor.quality.metrics import to_document  # noqa: PLC0415

    metrics = measure_classes(
        [truth for _, truth, _ in labels],
        [answer for _, _, answer in labels],
        [row.call for row in usable],
        seed,
    )
    return to_answer(rows, usable, to_document(metrics))


def measure_time_series(rows: Sequence[AnsweredRow], seed: int) -> Json:
    """Return the metrics of all points whose truth is there.

    Forecasts of one date share its error, and so may those of one call: the wider interval counts.
    """
    usable, points = match_points(rows)
    calls = [call for call, _ in points]
    dates = [call if point.at is None else point.at for call, point in points]
    if len(points) < MIN_ROWS or len(set(dates)) < MIN_DATES:
        reason = (
            f"too few: {len(points):,} points of {len(set(dates)):,} dates can be measured, "
            f"and {MIN_ROWS} points of {MIN_DATES} dates are needed"
        )
        return to_answer(rows, usable, {}, reason)
    import numpy as np  # noqa: PLC0415 (the same)

    from ml.monitor.quality.metrics import to_document  # noqa: PLC0415
    from ml.monitor.quality.regression import measure_numbers  # noqa: PLC0415

    clusterings: list[Sequence[object]] = [dates, *([calls] if len(set(calls)) >= MIN_CALLS else [])]
    truth = np.array([point.truth for _, point in points])
    forecasts = np.array([point.forecast for _, point in points])
    return to_answer(rows, usable, to_document(measure_numbers(truth, forecasts, clusterings, seed)))


def match_points(rows: Sequence[AnsweredRow]) -> tuple[list[AnsweredRow], list[tuple[str, MatchedPoint]]]:
    """Return the rows that match their truth somewhere, and where, each point with its call."""
    usable: list[AnsweredRow] = []
    points: list[tuple[str, MatchedPoint]] = []
    for row in rows:
        if found := match_series(row.answer, row.truth, row.at):
            usable.append(row)
            points += [(row.call, point) for point in found[: MAX_POINTS - len(points)]]
    return usable, points


def explain_too_few(usable: Sequence[AnsweredRow]) -> str:
    calls = len({row.call for row in usable})
    if len(usable) >= MIN_ROWS and calls >= MIN_CALLS:
        return ""
    return (
        f"too few: {len(usable):,} rows of {calls:,} calls can be measured, "
        f"and {MIN_ROWS} rows of {MIN_CALLS} calls are needed"
    )


def to_answer(
    rows: Sequence[AnsweredRow], usable: Sequence[AnsweredRow], metrics: Json, reason: str = ""
) -> Json:
    return {
        "rows": len(rows),
        "usable": len(usable),
        "calls": len({row.call for row in usable}),
        "metrics": metrics,
        "reason": reason,
    }
