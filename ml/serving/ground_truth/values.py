"""What a value has to be: as the kind of the release, or the answer that it is compared with, wants it."""

import json
import math
from typing import Any

from ml.serving.ground_truth.items import ItemError, decode_value
from ml.serving.predict.csv_rows import CellKind, encode_cell
from ml.serving.request_log.rows import Decoded

LABEL_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "boolean": bool,
}  # by the JSON type of an answer
NUMBER, LABEL = "has to be a finite number", "has to be a label: a text, a number, true or false"


def fit_value(given: Decoded | str, kind: str | None, label_type: str | None) -> Any:
    """Return the value where it fits a release of this kind, and an answer of this type.

    A cell of a CSV is read as what fits. Raises `ItemError`.
    """
    value = decode_cell(given, kind, label_type) if isinstance(given, str) else given.value
    if kind == "regression":
        check_number(value)
    elif kind == "time-series":
        check_series(value)
    elif kind == "classification":
        check_label(value, label_type)
    return value


def encode_value(value: Any) -> str:
    """Return JSON whose numbers are short: Postgres has none of a hundred thousand digits."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def decode_cell(text: str, kind: str | None, label_type: str | None) -> Any:
    """Return what a cell means: a text where the answer is one, else JSON's or pandas' reading of it."""
    if label_type == "string" and kind != "regression":
        return decode_value(json.dumps(text).encode()).value
    if text[0] in "[{" and kind != "classification":
        return decode_value(text.encode()).value
    return decode_value(bytes(encode_cell(text, CellKind(may_be_missing=False)))).value


def check_number(value: Any) -> None:
    if not is_number(value):
        raise ItemError("value", NUMBER)


def check_series(value: Any) -> None:
    """Raise `ItemError` unless it is a number, or a series as models answer it: [[time, number], …]."""
    if is_number(value) or (isinstance(value, list) and value and all(map(is_point, value))):
        return
    raise ItemError("value", f"{NUMBER}, or a series [[time, number], …]")


def is_point(one: Any) -> bool:
    return isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and is_number(one[1])


def check_label(value: Any, label_type: str | None) -> None:
    if not isinstance(value, (str, bool)) and not is_number(value):
        raise ItemError("value", LABEL)
    wanted = LABEL_TYPES.get(label_type or "")
    if wanted is None:  # probabilities of labels, or an answer that was not stored
        return
    if not isinstance(value, wanted) or (isinstance(value, bool) and label_type != "boolean"):
        raise ItemError("value", f"has to be a {label_type}, as the answer is")


def is_number(value: Any) -> bool:
    """Return whether a float can hold a JSON value."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False
