"""Conversion of models' results into plain JSON values: numpy, pandas, dates and tuples, without imports."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import uuid
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 100  # lists and objects in each other


class NotSerializableError(ValueError):
    """A value that JSON cannot hold; the text names the place and the type."""


def to_json_value(value: Any, place: str = "the value", depth: int = 0) -> Any:
    """Return `value` as dicts with text keys, lists, text, finite numbers, booleans and None.

    Raises `NotSerializableError` when JSON cannot hold it.
    """
    if value is None or type(value) in (bool, str, int):
        return value
    if type(value) is float:
        return check_finite(value, place)
    if depth >= MAX_DEPTH:
        raise NotSerializableError(f"{place[:100]}… is nested in more than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {to_key(k, place): to_json_value(v, f"{place}[{k!r}]", depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(v, f"{place}[{i}]", depth + 1) for i, v in enumerate(value)]
    return convert_object(value, place, depth)


def is_deeper(value: Any, levels: int) -> bool:
    """Return True when plain JSON nests more lists and objects than `levels`; it may be of any depth."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [one for one in layer if isinstance(one, (list, dict)) and one]
        if not layer:
            return False
        layer = [inner for one in layer for inner in (one.values() if isinstance(one, dict) else one)]
    return True


def check_finite(value: float, place: str) -> float:
    if not math.isfinite(value):
        raise NotSerializableError(f"{place} is {value}")
    return value


def is_missing(value: Any) -> bool:
    """Return whether a value of a table is missing: None, NaN, or pandas's NA or NaT."""
    is_nan = isinstance(value, float) and math.isnan(value)
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def to_key(value: Any, place: str) -> str:
    if type(value) is str:
        return value
    plain = to_json_value(value, f"a key of {place}")
    return plain if isinstance(plain, str) else str(plain)


def convert_object(value: Any, place: str, depth: int) -> Any:
    """Convert an object by its methods, since its type may come from any library."""
    for fits, plain in CONVERSIONS:
        if fits(value):
            try:
                converted = plain(value)
            except NotSerializableError as unfit:
                raise NotSerializableError(f"{place}: {unfit}") from unfit
            if type(converted) is not type(value):
                return to_json_value(converted, place, depth)
    raise NotSerializableError(f"{place} is of type {type(value).__module__}.{type(value).__name__}")


def has_method(method: str, *attributes: str) -> Callable[[Any], bool]:
    """Return a test for values (not classes) with a method, and these attributes."""
    return lambda value: (
        callable(getattr(value, method, None))
        and not isinstance(value, type)
        and all(hasattr(value, attribute) for attribute in attributes)
    )


def is_instance_of(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


def is_named(*names: str) -> Callable[[Any], bool]:
    return lambda value: type(value).__name__ in names


def is_finer_than_python(value: Any) -> bool:
    """Return True for a numpy time in nanoseconds or finer, which tolist() turns into an integer."""
    kind = str(getattr(getattr(value, "dtype", None), "str", ""))[1:]
    return type(value).__module__ == "numpy" and kind in {
        f"{of}8[{unit}]" for of in "mM" for unit in ("ns", "ps", "fs", "as")
    }


def is_series_by_time(value: Any) -> bool:
    """Return True for a pandas Series by dates, which tolist() would leave out."""
    kind = getattr(getattr(getattr(value, "index", None), "dtype", None), "kind", None)
    return kind == "M" and has_method("to_frame", "dtype")(value)


def dataclass_to_dict(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def format_time(value: Any) -> str:
    text: str = value.isoformat()
    if text == "NaT":
        raise NotSerializableError("a time is missing (NaT)")
    return text


CONVERSIONS: list[tuple[Callable[[Any], bool], Callable[[Any], Any]]] = [
    (is_instance_of(enum.Enum), lambda value: value.value),
    (is_instance_of(str), str.__str__),
    (is_instance_of(int), int),
    (is_instance_of(float, decimal.Decimal), float),
    (is_instance_of(datetime.timedelta), lambda value: value.total_seconds()),
    (has_method("isoformat"), format_time),
    (lambda value: dataclasses.is_dataclass(value) and not isinstance(value, type), dataclass_to_dict),
    (has_method("model_dump"), lambda value: value.model_dump()),  # pydantic
    (has_method("to_dict", "columns"), lambda value: value.to_dict("records")),  # a DataFrame
    (is_series_by_time, lambda value: list(zip(value.index, value.tolist(), strict=True))),
    (is_finer_than_python, lambda value: value.astype(f"{value.dtype.kind}8[us]").tolist()),
    (has_method("tolist"), lambda value: value.tolist()),  # numpy's arrays and scalars, a Series, an Index
    (is_named("Period", "Interval"), str),  # pandas
    (is_instance_of(uuid.UUID), str),
    (is_instance_of(set, frozenset, range), list),
    (has_method("__next__"), list),
    (is_named("dict_keys", "dict_values", "dict_items"), list),
]
