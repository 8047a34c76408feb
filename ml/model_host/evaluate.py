"""The evaluation of a trained model on the test data, and its own description."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

from . import dataframes, repository
from .bounds import LEFT_OUT, find_metrics_error, fit_info
from .errors import ModelError, call_model
from .predict import find_method, read_examples, schema_from_info
from .reference_data import find_target
from .schema import learn_schema
from .to_json import is_missing, to_json_value

# levels that are described, characters of an object's text
MAX_DESCRIBED_DEPTH, MAX_TEXT_CHARS = 10, 200
MAX_ROW_BYTES = 48 << 10  # bytes as JSON
MAX_FEATURE_NAMES, MAX_EXAMPLES = 1000, 100


def evaluate(_: str, question: dict[str, Any]) -> dict[str, Any]:
    """Return `{"metrics": name → finite number, "info": the result of info(), "history": bool, it has one,
    "rows": features to try a prediction with, "typed": bool, the type of the features gives an example,
    "features": the names of the features, where they have names}`."""
    entry_point = repository.load_entry_point(question)
    model = Path(question["artifact"]).read_bytes()
    scores = call_model("evaluate()", entry_point.evaluate, model, dataframes.read_data(question["data"]))
    info = read_info(entry_point)
    return {
        "metrics": parse_metrics(scores),
        "info": info,
        "rows": choose_rows(entry_point, question["data"]) if question["has_rows"] else [],
        "typed": "examples" in (learn_schema(entry_point.predict).schema or {}),
        "history": callable(getattr(entry_point, "history", None)),
        "features": list_feature_names(entry_point),
    }


def choose_rows(entry_point: Any, data: dict[str, str]) -> list[Any] | None:
    """Return the test data's first row in forms that predict() may take; None if the author gives examples.

    Where the target column is not declared, it may be at either end of the row, or not among the columns.
    """
    taken = learn_schema(entry_point.predict)
    if find_method(entry_point, "examples") or ("examples" in (taken.schema or {}) and not taken.is_guessed):
        return None
    try:
        table = dataframes.read_data(data)
        column, names = find_target(entry_point, table), list(table.columns)
        chosen = [names, names[:-1], names[1:]] if column is None else [[n for n in names if n != column]]
        first = next(iter(table.to_dict("records")))
        plain = [{str(name): to_cell(first[name]) for name in of} for of in chosen]
    except Exception:  # noqa: BLE001 (data that are no table, or untrusted code)
        return []
    forms: list[Any] = []
    for row in plain:
        values = list(row.values())
        forms += [row, values, *(values if len(values) == 1 else [])]
    return [form for form in forms if len(json.dumps(form)) <= MAX_ROW_BYTES]


def list_feature_names(entry_point: Any) -> list[str] | None:
    """Return the names of the features by their type, by info() or by examples(); None where none has any."""
    schema = learn_schema(entry_point.predict).schema or schema_from_info(entry_point).schema or {}
    properties = schema.get("properties")
    if isinstance(properties, dict):
        names = list(properties)
    else:
        examples = [one for one in read_examples(entry_point) or [] if isinstance(one, dict)]
        names = list({str(name): None for one in examples[:MAX_EXAMPLES] for name in one})
    return names if 0 < len(names) <= MAX_FEATURE_NAMES else None


def to_cell(value: Any) -> Any:
    """Return a cell as a JSON value; a missing one is None."""
    return None if is_missing(value) else to_json_value(value)


def parse_metrics(scores: Any) -> dict[str, float]:
    """Return the scores as plain finite numbers; numpy's scalars are accepted."""
    if not hasattr(scores, "items"):
        raise ModelError(f"evaluate() gave {get_type_name(scores)}: it has to return a dict of metrics")
    given = {str(name): value for name, value in scores.items()}
    if wrong := find_metrics_error(given):
        raise ModelError(wrong)
    found = {name: parse_metric(name, value) for name, value in given.items()}
    if not found:
        raise ModelError("evaluate() gave an empty dict: without a number nothing can be judged")
    return found


def parse_metric(name: str, value: Any) -> float:
    plain = value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
    if isinstance(plain, (str, bytes)):
        raise ModelError(f"evaluate() gave {name} = {plain!r:.100}, a text: a metric is a number")
    try:
        plain = float(plain)
    except OverflowError as error:
        raise ModelError(
            f"evaluate() gave {name}, too large for a float: a metric is a finite number"
        ) from error
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"evaluate() gave {name} of type {get_type_name(value)}: a metric is a number"
        ) from error
    if not math.isfinite(plain):
        raise ModelError(f"evaluate() gave {name} = {plain}: a metric is a finite number")
    return plain


def read_info(entry_point: Any) -> dict[str, Any]:
    """Return the result of info() as far as JSON can hold it: a bad description stops no model."""
    try:
        info = call_model("info()", entry_point.info)
        if not call_model("info()", hasattr, info, "items"):
            return {
                LEFT_OUT: (
                    f"info() gave {get_type_name(info)}: it has to return a dict that describes the model"
                )
            }
        described = call_model(
            "info()", lambda: {str(name): describe_value(one) for name, one in info.items()}
        )
        return fit_info(described)
    except ModelError as fault:
        return {LEFT_OUT: str(fault)[:1000]}


def describe_value(value: Any, ancestors: tuple[int, ...] = ()) -> Any:
    """Return a value for JSON; what JSON cannot hold as its text, and NaN and Infinity as null.

    `ancestors` are the ids of the values around it: one that contains itself is given as text.
    """
    with contextlib.suppress(Exception):  # untrusted code, which may raise anything
        return to_json_value(value, depth=len(ancestors))
    if isinstance(value, float):
        return None
    if len(ancestors) < MAX_DESCRIBED_DEPTH and id(value) not in ancestors:
        inside = (*ancestors, id(value))
        if isinstance(value, dict):
            return {str(name): describe_value(one, inside) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [describe_value(one, inside) for one in value]
    return format_object(value)


def format_object(value: Any) -> str:
    """Return the text of an object: of a function or a class its name, else that of str()."""
    try:
        name = getattr(value, "__qualname__", None)
        return (name if isinstance(name, str) else str(value))[:MAX_TEXT_CHARS]
    except Exception:  # noqa: BLE001 (a hostile __str__)
        return get_type_name(value)


def get_type_name(value: Any) -> str:
    return "None" if value is None else type(value).__name__
