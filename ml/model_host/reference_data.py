"""The data that predictions are shown next to: a series' history, or the target's range in training."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from . import dataframes, repository
from .errors import ModelError, call_model
from .predict import schema_from_info
from .schema import learn_schema
from .to_json import is_missing, to_json_value

MAX_HISTORY_ROWS = 1000  # rows of a series: the newest
MAX_LABEL_CHARS = 64  # characters of a time


def reference_data(_: str, question: dict[str, Any]) -> dict[str, Any]:
    """Return `{"history": [[time, number], ...]}` of a time series, of a regression
    `{"target": {"column", "min", "median", "max"} | null}`."""
    entry_point = repository.load_entry_point(question)
    if question["kind"] == "time-series":
        return {"history": read_history(entry_point.history, question["data"])}
    data = dataframes.read_data(question["data"])
    column = find_target(entry_point, data)
    return {"target": None if column is None else find_range(data[column], str(column))}


def read_history(history: Callable[..., Any], data: dict[str, str]) -> list[list[Any]]:
    """Return the rows of the model's optional history(); one with a parameter gets the training data."""
    arguments = [dataframes.read_data(data)] if has_parameters(history) else []
    found = call_model("history()", history, *arguments)
    try:
        pairs = [to_pair(moment, value) for moment, value in to_rows(found)[-MAX_HISTORY_ROWS:]]
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"history() has to give (time, number) rows, or a Series by time: {error}"
        ) from error
    return [[moment, value] for moment, value in pairs if value is not None]


def has_parameters(function: Callable[..., Any]) -> bool:
    try:
        return bool(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a compiled function
        return False


def to_rows(found: Any) -> list[Any]:
    """Return the rows of a DataFrame's two columns, of a Series or a dict, or of any iterable of rows."""
    if hasattr(found, "itertuples"):
        return list(found.itertuples(index=False, name=None))
    return list(found.items() if hasattr(found, "items") else found)


def to_pair(moment: Any, value: Any) -> tuple[str, float | None]:
    """Return a row as JSON values; a gap in the series has no number. Raises ValueError."""
    text = to_json_value(moment, "a time")
    if not isinstance(text, str) or len(text) > MAX_LABEL_CHARS:
        raise ValueError(f"{text!r:.80} is not a time")
    number = math.nan if is_missing(value) else float(value)
    return text, number if math.isfinite(number) else None


def find_target(entry_point: Any, data: Any) -> Any:
    """Return the column that the model learns to predict: the one that info()["Target"] names, else the one
    of the training data that is no feature; None where neither is found."""
    columns = list(getattr(data, "columns", ()))
    info = call_model("info()", entry_point.info)
    named = info.get("Target") if hasattr(info, "get") else None
    if named in columns:
        return named
    taken = learn_schema(entry_point.predict)
    features = ((taken if taken.schema else schema_from_info(entry_point)).schema or {}).get("properties", {})
    left = [column for column in columns if column not in features]
    return left[0] if features and len(left) == 1 else None


def find_range(values: Any, column: str) -> dict[str, Any] | None:
    """Return the minimum, median and maximum of a column of numbers; None of one with other values."""
    try:
        found = {"min": float(values.min()), "median": float(values.median()), "max": float(values.max())}
    except (TypeError, ValueError):
        return None
    return {"column": column[:MAX_LABEL_CHARS], **found} if all(map(math.isfinite, found.values())) else None
