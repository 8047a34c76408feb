"""The bounds of a JSON Schema: of numbers, and of the length of a text, a list or an object."""

from __future__ import annotations

import re
from typing import Any

from .mismatch import validation_error

JSON_TYPES: dict[str, Any] = {
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
    "null": type(None),
    "array": list,
    "object": dict,
}
NUMBER_BOUNDS: dict[str, Any] = {
    "minimum": (lambda value, bound: value >= bound, "at least"),
    "maximum": (lambda value, bound: value <= bound, "at most"),
    "exclusiveMinimum": (lambda value, bound: value > bound, "more than"),
    "exclusiveMaximum": (lambda value, bound: value < bound, "less than"),
}
LENGTH_BOUNDS: dict[str, tuple[str, str, str]] = {
    "string": ("minLength", "maxLength", "characters"),
    "array": ("minItems", "maxItems", "items"),
    "object": ("minProperties", "maxProperties", "members"),
}


def is_json_type(value: Any, word: str) -> bool:
    if isinstance(value, bool):
        return word == "boolean"
    if word == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, JSON_TYPES[word])


def check_bounds(value: Any, place: str, schema: dict[str, Any]) -> None:
    """Raise `FeatureValidationError` for a number, text, list or object outside its schema's bounds."""
    if is_json_type(value, "number"):
        for word, (fits, phrase) in NUMBER_BOUNDS.items():
            if word in schema and not fits(value, schema[word]):
                raise validation_error(place, f"{phrase} {schema[word]}", value)
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        raise validation_error(place, f"a text like {schema['pattern']}", value)
    for kind, (low, high, what) in LENGTH_BOUNDS.items():
        if is_json_type(value, kind):
            if len(value) < schema.get(low, 0):
                raise validation_error(place, f"{schema[low]} {what} at least", value)
            if len(value) > schema.get(high, len(value)):
                raise validation_error(place, f"{schema[high]} {what} at most", value)
