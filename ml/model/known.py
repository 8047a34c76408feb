"""What a prediction is shown beside: the known series, or the range of the target in training."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from . import repository, tables
from .fault import Fault, call
from .jsonable import jsonable
from .predict import said
from .schema import learn

MOST = 1000  # rows of a series: the newest
LONGEST = 64  # characters of a moment


def known(_: str, question: dict[str, Any]) -> dict[str, Any]:
    """`{"history": [[moment, number], ...]}` of a time series, of a regression
    `{"target": {"column", "min", "median", "max"} | null}`."""
    entry_point = repository.load(question["source"], question["entry_point"])
    if question["kind"] == "time-series":
        return {"history": series(entry_point.history, question["data"])}
    data = tables.read(question["data"])
    column = target(entry_point, data)
    return {"target": None if column is None else spread(data[column], str(column))}


def series(history: Callable[..., Any], data: dict[str, str]) -> list[list[Any]]:
    """What the model's optional history() gives; one with a parameter gets the training data."""
    arguments = [tables.read(data)] if parameters(history) else []
    found = call("history()", history, *arguments)
    try:
        pairs = [pair(moment, value) for moment, value in rows(found)[-MOST:]]
    except (TypeError, ValueError) as error:
        raise Fault(f"history() has to give (time, number) rows, or a Series by time: {error}") from error
    return [[moment, value] for moment, value in pairs if value is not None]


def parameters(function: Callable[..., Any]) -> bool:
    try:
        return bool(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a compiled function
        return False


def rows(found: Any) -> list[Any]:
    """Of a DataFrame's two columns, of a Series or a dict, or of anything that holds rows."""
    if hasattr(found, "itertuples"):
        return list(found.itertuples(index=False, name=None))
    return list(found.items() if hasattr(found, "items") else found)


def pair(moment: Any, value: Any) -> tuple[str, float | None]:
    """A row as JSON has it; a gap in the series (NaN, None) has no number."""
    text = jsonable(moment, "a time")
    if not isinstance(text, str) or len(text) > LONGEST:
        raise ValueError(f"{text!r:.80} is no time")
    number = math.nan if value is None else float(value)
    return text, number if math.isfinite(number) else None


def target(entry_point: Any, data: Any) -> Any:
    """The column that the model learns to predict: what info()["Target"] names, else the one of the training
    data that is no feature; None where neither says it."""
    columns = list(getattr(data, "columns", ()))
    named = call("info()", entry_point.info).get("Target")
    if named in columns:
        return named
    taken = learn(entry_point.predict)
    features = ((taken if taken.schema else said(entry_point)).schema or {}).get("properties", {})
    left = [column for column in columns if column not in features]
    return left[0] if features and len(left) == 1 else None


def spread(values: Any, column: str) -> dict[str, Any] | None:
    """The least, the middle and the largest of a column of numbers; None of one that holds others."""
    try:
        found = {"min": float(values.min()), "median": float(values.median()), "max": float(values.max())}
    except (TypeError, ValueError):
        return None
    return {"column": column[:LONGEST], **found} if all(map(math.isfinite, found.values())) else None
