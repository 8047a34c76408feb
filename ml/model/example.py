"""An example of what a JSON Schema asks for, where the schema alone says enough."""

from __future__ import annotations

import contextlib
from typing import Any


class Guess(Exception):
    """A text, a list or any JSON: what a model makes of one is for its author to say, with examples()."""


def example(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """A value that fits `schema` (`root` has its `$defs`), as plain as can be; raises `Guess`."""
    for word in ("examples", "enum"):
        if schema.get(word):
            return schema[word][0]
    for word in ("default", "const"):
        if schema.get(word) is not None:
            return schema[word]
    if "$ref" in schema:
        return referred(schema["$ref"], root)
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return first(schema[word], root)
    return plain(schema, root)


def referred(reference: str, root: dict[str, Any]) -> Any:
    try:
        return example(root["$defs"][reference.rsplit("/", 1)[-1]], root)
    except (KeyError, RecursionError) as error:
        raise Guess(reference) from error


def first(schemas: list[dict[str, Any]], root: dict[str, Any]) -> Any:
    for schema in schemas:
        with contextlib.suppress(Guess):
            return example(schema, root)
    raise Guess(schemas)


def plain(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """By the type that it names."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind in ("integer", "number"):
        return number(schema)
    if kind == "object" and schema.get("properties"):
        needed = schema.get("required", ())
        return {name: example(schema["properties"][name], root) for name in needed}
    if kind == "array" and schema.get("minItems"):
        return [example(schema.get("items", {}), root)] * schema["minItems"]
    by_type = {"boolean": True, "null": None}
    by_format = {"date": "2026-01-31", "date-time": "2026-01-31T12:00:00"}
    if kind in by_type:
        return by_type[kind]
    if kind == "string" and schema.get("format") in by_format:
        return by_format[schema["format"]]
    raise Guess(schema)


def number(schema: dict[str, Any]) -> Any:
    """1, or the bound next to it."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + 1
    if low is not None and low > 1:
        return low
    return high if high is not None and high < 1 else 1
