"""Features as types of pandas and numpy, where predict() takes those."""

from __future__ import annotations

import sys
import typing
from typing import Any

from .mismatch import validation_error

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from .mismatch import Build


def get_qualified_name(kind: Any) -> str:
    return f"{kind.__module__.split('.')[0]}.{kind.__qualname__}"


def build_frame(kind: Any) -> tuple[dict[str, Any], Build]:
    """Describe a pandas DataFrame of the one row of features, or of the rows of a list."""

    def build(value: Any, place: str) -> Any:
        rows = value if isinstance(value, list) else [value]
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise validation_error(place, "an object with a value for each column", value)
        return kind(rows)

    return {"type": "object"}, build


def build_series(kind: Any) -> tuple[dict[str, Any], Build]:
    """Describe a pandas Series: a row by the names of its columns."""

    def build(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise validation_error(place, "an object with a value for each column", value)
        return kind(value)

    return {"type": "object"}, build


def build_array(kind: Any) -> tuple[dict[str, Any], Build]:
    """Describe a numpy array."""
    numpy = sys.modules[kind.__module__]  # the model's own, which its annotation names

    def build(value: Any, place: str) -> Any:
        if not isinstance(value, list):
            raise validation_error(place, "a list", value)
        try:
            return numpy.array(value)
        except ValueError as error:
            raise validation_error(place, "a list of numbers, or lists of one length", value) from error

    return {"type": "array"}, build


ARRAY_BUILDERS: dict[str, Callable[[Any], tuple[dict[str, Any], Build]]] = {
    "pandas.DataFrame": build_frame,
    "pandas.Series": build_series,
    "numpy.ndarray": build_array,
}
