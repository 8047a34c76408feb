"""What models return, as plain JSON values: numpy, pandas, dates and tuples without importing any of them."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import uuid
from collections.abc import Callable
from typing import Any

DEEPEST = 100  # lists and objects in each other


class Unfit(ValueError):
    """A value that JSON cannot hold; the text names the place and the type."""


def jsonable(value: Any, place: str = "the value", depth: int = 0) -> Any:
    """`value` as dicts with text keys, lists, text, finite numbers, booleans and None; raises `Unfit`."""
    if value is None or type(value) in (bool, str, int):
        return value
    if type(value) is float:
        return finite(value, place)
    if depth >= DEEPEST:
        raise Unfit(f"{place[:100]}… is nested in more than {DEEPEST} levels")
    if isinstance(value, dict):
        return {key(k, place): jsonable(v, f"{place}[{k!r}]", depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v, f"{place}[{i}]", depth + 1) for i, v in enumerate(value)]
    return foreign(value, place, depth)


def is_deeper(value: Any, levels: int) -> bool:
    """Whether plain JSON has more lists and objects in each other than that; it may be of any depth."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [one for one in layer if isinstance(one, (list, dict)) and one]
        if not layer:
            return False
        layer = [inner for one in layer for inner in (one.values() if isinstance(one, dict) else one)]
    return True


def finite(value: float, place: str) -> float:
    if not math.isfinite(value):
        raise Unfit(f"{place} is {value}")
    return value


def key(value: Any, place: str) -> str:
    if type(value) is str:
        return value
    plain = jsonable(value, f"a key of {place}")
    return plain if isinstance(plain, str) else str(plain)


def foreign(value: Any, place: str, depth: int) -> Any:
    """By what it can do, since its type may come from any library."""
    for fits, plain in CONVERSIONS:
        if fits(value):
            try:
                converted = plain(value)
            except Unfit as unfit:
                raise Unfit(f"{place}: {unfit}") from unfit
            if type(converted) is not type(value):
                return jsonable(converted, place, depth)
    raise Unfit(f"{place} is of type {type(value).__module__}.{type(value).__name__}")


def can(method: str, *attributes: str) -> Callable[[Any], bool]:
    """Whether a value (not a class) has a method, and these attributes."""
    return lambda value: (
        callable(getattr(value, method, None))
        and not isinstance(value, type)
        and all(hasattr(value, attribute) for attribute in attributes)
    )


def is_a(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


def named(*names: str) -> Callable[[Any], bool]:
    return lambda value: type(value).__name__ in names


def record(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def moment(value: Any) -> str:
    text: str = value.isoformat()
    if text == "NaT":
        raise Unfit("a time is missing (NaT)")
    return text


CONVERSIONS: list[tuple[Callable[[Any], bool], Callable[[Any], Any]]] = [
    (is_a(enum.Enum), lambda value: value.value),
    (is_a(str), str.__str__),
    (is_a(int), int),
    (is_a(float, decimal.Decimal), float),
    (is_a(datetime.timedelta), lambda value: value.total_seconds()),
    (can("isoformat"), moment),
    (lambda value: dataclasses.is_dataclass(value) and not isinstance(value, type), record),
    (can("model_dump"), lambda value: value.model_dump()),  # pydantic
    (can("to_dict", "columns"), lambda value: value.to_dict("records")),  # a DataFrame
    (can("tolist"), lambda value: value.tolist()),  # numpy's arrays and scalars, a Series, an Index
    (named("Period", "Interval"), str),  # pandas
    (is_a(uuid.UUID), str),
    (is_a(set, frozenset, range), list),
    (can("__next__"), list),
    (named("dict_keys", "dict_values", "dict_items"), list),
]
