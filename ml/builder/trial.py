"""The first prediction of a release without recorded requests, on a row of the test data."""

from pathlib import Path
from typing import Any

from common.errors import RejectedError
from ml.builder import prediction_diff
from ml.model_host.replay import TOO_LONG
from ml.prediction_delta import format_value
from ml.runtime.materialize import RunnableRelease

MAX_SHOWN_CHARS = 300  # characters of a row
UNFIT_MESSAGE = (
    "no prediction has been tried: no row of the test data fits the features; examples() would say what does"
)


def try_rows(
    release: RunnableRelease, rows: list[Any] | None, kind: str, *, output: Path, log: Path
) -> str | None:
    """Return a sentence why no prediction was tried; None when one succeeded, or will be made (no `rows`).

    `rows` are variants of one row: a model accepts one of them, if any. Raises `RejectedError` when a model
    of rows fails on all of them. A KeyError for a key that the row lacks means that the model takes other
    features.
    """
    if rows is None:
        return None
    if not rows:
        return UNFIT_MESSAGE
    requests, answers = prediction_diff.replay_rows(release, rows, output, log)
    errors = [
        (row, answer["error"])
        for row, answer in zip(requests, answers, strict=False)
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict)
    ]
    if any(map(prediction_diff.has_prediction, answers)) or any(
        error.get("message") == TOO_LONG for _, error in errors
    ):
        return None
    if not errors or errors[0][1].get("type") == "KeyError":
        return UNFIT_MESSAGE
    row, error = errors[0]
    message = f"{error.get('type')}: {error.get('message')}"
    row_text = format_value(row)[:MAX_SHOWN_CHARS]
    if kind not in ("regression", "classification"):
        return f"no prediction has worked: of a row of the test data ({row_text}), predict() raised {message}"
    raise RejectedError(
        f"predict() raised {message}, for a row of the test data: {row_text}. "
        "If it takes other features, add examples() to main.py"
    )
