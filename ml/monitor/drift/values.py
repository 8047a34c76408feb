"""What is compared of one value: a number, a label, or that it is missing; standard library only."""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import islice
from types import NoneType
from typing import Any, NamedTuple

MAX_NUMBER = 1e300  # of either sign; what is larger counts as this: sums of them are still finite
MAX_LABEL_CHARS = 100  # longer ones are stored as their beginning and a hash
MAX_PARTS = 1000  # elements or keys of one value whose types are looked at
TYPE_NAMES: dict[type, str] = {
    NoneType: "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "text",
    dict: "object",
    list: "list",
    tuple: "list",
}
ISO_DATE = re.compile(r"\s*\d{4}-\d\d?-\d\d?([T ]\d\d?:\d\d.*)?", re.ASCII | re.DOTALL)


class Kind(StrEnum):
    """How the values of a column are compared."""

    NUMBER = "number"
    CATEGORY = "category"
    TEXT = "text"  # by length and types; dates too, as they change because time passes
    NESTED = "nested"  # by length and types


class Measure(NamedTuple):
    """What is compared of one value; no label: it is missing."""

    number: float | None
    label: str | None


MISSING = Measure(None, None)


def measure_value(kind: Kind, value: Any) -> Measure:
    """Return what a column of this kind compares of one value. Null and NaN are missing, infinity is not."""
    if is_missing(value):
        return MISSING
    match kind:
        case Kind.NUMBER:
            name = name_type(value)
            return Measure(to_float(value) if name == "number" else None, name)
        case Kind.CATEGORY:
            return Measure(None, name_category(value))
        case Kind.TEXT:
            return Measure(measure_length(value), name_type(value))
    return Measure(measure_length(value), name_shape(value))


def measure_values(
    kind: Kind, values: Sequence[Any]
) -> tuple[tuple[float | None, ...], tuple[str | None, ...]]:
    """Return the number and the label of each value."""
    if kind is Kind.NUMBER and are_plain_numbers(
        values
    ):  # most columns are, and it takes a tenth of the time
        return tuple(map(float, values)), ("number",) * len(values)
    measures = [measure_value(kind, value) for value in values]
    return tuple(one.number for one in measures), tuple(one.label for one in measures)


def are_plain_numbers(values: Sequence[Any]) -> bool:
    return set(map(type, values)) <= {int, float} and all(abs(value) <= MAX_NUMBER for value in values)


def is_missing(value: Any) -> bool:
    return value is None or (type(value) is float and math.isnan(value))


def is_number(value: Any) -> bool:
    return name_type(value) == "number"


def to_float(value: float) -> float:
    """Return a number that statistics can add: infinity and integers beyond any float become the largest."""
    try:
        return min(max(float(value), -MAX_NUMBER), MAX_NUMBER)
    except OverflowError:
        return math.copysign(MAX_NUMBER, 1 if value > 0 else -1)


def measure_length(value: Any) -> float | None:
    """Return the characters of a text, or the elements or keys of a nested value; None of anything else."""
    return float(len(value)) if isinstance(value, str | list | tuple | dict) else None


def name_type(value: Any) -> str:
    """Return the type of a value in the terms of JSON; "other" where JSON has none."""
    return TYPE_NAMES.get(type(value), "other")


def name_shape(value: Any) -> str:
    """Return the keys of an object, or the types in a list; the type of anything else."""
    if isinstance(value, dict):
        return shorten_label("object: " + ", ".join(sorted(map(str, islice(value, MAX_PARTS)))))
    if isinstance(value, list | tuple):
        return "list of " + (", ".join(sorted({name_type(part) for part in value[:MAX_PARTS]})) or "nothing")
    return name_type(value)


def name_category(value: Any) -> str:
    """Return a label that differs for different values: 3 and 3.0 are one, 3 and "3" are two."""
    if is_number(value):
        return repr(to_float(value))
    if isinstance(value, str):
        return shorten_label(f'"{value}"')
    if isinstance(value, bool):
        return "true" if value else "false"
    return name_shape(value)


def shorten_label(text: str) -> str:
    if len(text) <= MAX_LABEL_CHARS:
        return text
    return f"{text[:60]}…{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def is_date(value: Any) -> bool:
    return isinstance(value, str) and ISO_DATE.fullmatch(value[:40]) is not None


def list_present(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if not is_missing(value)]
