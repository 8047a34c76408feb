"""A first prediction, of a row of the test data, for a release that nobody has asked for any yet."""

from pathlib import Path
from typing import Any

from ml import differences
from ml.errors import Rejected
from ml.model.replay import TOO_LONG

MAX_SHOWN = 300  # characters of a row
UNFIT = (
    "no prediction has been tried: no row of the test data fits the features; examples() would say what does"
)


def try_rows(
    release: differences.Release, rows: list[Any] | None, kind: str, *, into: Path, log: Path
) -> str | None:
    """In words why no prediction was tried; None when one has been given, or will be (no `rows`).

    `rows` are forms of one row: a model takes one of them, if any. Raises `Rejected` when a model of rows
    fails with all. A key that the row lacks says that the model takes other features.
    """
    if rows is None:
        return None
    if not rows:
        return UNFIT
    asked, answers = differences.replay(release, rows, into, log)
    errors = [
        (row, answer["error"])
        for row, answer in zip(asked, answers, strict=False)
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict)
    ]
    if any(map(differences.answered, answers)) or any(
        error.get("message") == TOO_LONG for _, error in errors
    ):
        return None
    if not errors or errors[0][1].get("type") == "KeyError":
        return UNFIT
    row, error = errors[0]
    said = f"{error.get('type')}: {error.get('message')}"
    shown = differences.shown(row)[:MAX_SHOWN]
    if kind not in ("regression", "classification"):
        return f"no prediction has worked: of a row of the test data ({shown}), predict() raised {said}"
    raise Rejected(
        f"predict() raised {said}, for a row of the test data: {shown}. "
        "If it takes other features, add examples() to main.py"
    )
