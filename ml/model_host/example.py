"""An example value of a JSON Schema, where the schema alone suffices."""

from __future__ import annotations

import contextlib
from typing import Any


class CannotGuessError(Exception):
    """A schema of a text, a list or any JSON, for which only the model's author can give examples()."""


def build_example(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return the plainest value that fits `schema` (`root` has its `$defs`); raises `CannotGuessError`."""
    for word in ("examples", "enum"):
        if schema.get(word):
            return schema[word][0]
    for word in ("default", "const"):
        if schema.get(word) is not None:
            return schema[word]
    if "$ref" in schema:
        return build_from_ref(schema["$ref"], root)
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return build_first(schema[word], root)
    return build_from_type(schema, root)


def build_from_ref(reference: str, root: dict[str, Any]) -> Any:
    try:
        return build_example(root["$defs"][reference.rsplit("/", 1)[-1]], root)
    except (KeyError, RecursionError) as error:
        raise CannotGuessError(reference) from error


def build_first(schemas: list[dict[str, Any]], root: dict[str, Any]) -> Any:
    for schema in schemas:
        with contextlib.suppress(CannotGuessError):
            return build_example(schema, root)
    raise CannotGuessError(schemas)


def build_from_type(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return a value of the type that the schema names; raises `CannotGuessError`."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind in ("integer", "number"):
        return build_number(schema)
    if kind == "object" and schema.get("properties"):
        needed = schema.get("required", ())
        return {name: build_example(schema["properties"][name], root) for name in needed}
    if kind == "array" and schema.get("minItems"):
        return [build_example(schema.get("items", {}), root)] * schema["minItems"]
    by_type = {"boolean": True, "null": None}
    by_format = {"date": "2026-01-31", "date-time": "2026-01-31T12:00:00"}
    if kind in by_type:
        return by_type[kind]
    if kind == "string" and schema.get("format") in by_format:
        return by_format[schema["format"]]
    raise CannotGuessError(schema)


def build_number(schema: dict[str, Any]) -> Any:
    """Return 1, or the bound next to it."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + 1
    if low is not None and low > 1:
        return low
    return high if high is not None and high < 1 else 1
