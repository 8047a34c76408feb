"""What `predict` takes where it has no type: the JSON Schema in `info()["features"]`."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from .example import Guess, example
from .jsonable import jsonable
from .schema import ANYTHING, Mismatch, Taken, Unknown, inside, mismatch

TYPES: dict[str, Any] = {
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
    "null": type(None),
    "array": list,
    "object": dict,
}
BOUNDS: dict[str, Any] = {
    "minimum": (lambda value, bound: value >= bound, "at least"),
    "maximum": (lambda value, bound: value <= bound, "at most"),
    "exclusiveMinimum": (lambda value, bound: value > bound, "more than"),
    "exclusiveMaximum": (lambda value, bound: value < bound, "less than"),
}
LENGTHS: dict[str, tuple[str, str, str]] = {
    "string": ("minLength", "maxLength", "characters"),
    "array": ("minItems", "maxItems", "items"),
    "object": ("minProperties", "maxProperties", "members"),
}
TELLING = ("type", "properties", "items", "enum", "const", "anyOf", "oneOf", "allOf", "$ref")


def declared(info: Any) -> Taken:
    """`info` is what the model's info() gave; what is no schema to us says nothing about features."""
    try:
        schema = jsonable(info["features"])
        if not isinstance(schema, dict) or not any(word in schema for word in TELLING):
            return ANYTHING
        known(schema, schema)
        if "examples" not in schema:
            with contextlib.suppress(Guess):
                schema = {**schema, "examples": [example(schema, schema)]}
        return Taken(schema, lambda value, place: held(value, place, schema, schema, 0))
    except Exception:  # noqa: BLE001 (info() may hold anything by that name)
        return ANYTHING


def known(schema: Any, root: dict[str, Any]) -> None:
    """Raises unless every part of a schema is one that `held` understands."""
    if isinstance(schema, bool):
        return
    for word in words(schema):
        if word not in TYPES:
            raise Unknown(word)
    if "$ref" in schema:
        target(schema["$ref"], root)
    if "pattern" in schema:
        re.compile(schema["pattern"])
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += [schema[word] for word in ("items", "additionalProperties", "not") if word in schema]
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        inner += schema.get(word, ())
    for one in inner:
        known(one, root)


def words(schema: dict[str, Any]) -> list[str]:
    said = schema.get("type", [])
    return [said] if isinstance(said, str) else list(said)


def target(reference: str, root: dict[str, Any]) -> Any:
    found: Any = root
    if not reference.startswith("#"):
        raise Unknown(reference)
    for step in reference[1:].split("/")[1:]:
        found = found[step]
    return found


def held(value: Any, place: str, schema: Any, root: dict[str, Any], depth: int) -> Any:
    """The value, when the schema allows it; raises `Mismatch` with the place."""
    if isinstance(schema, bool) or depth > 100:
        if schema is True:
            return value
        raise mismatch(place, "left out", value)
    if "$ref" in schema:
        held(value, place, target(schema["$ref"], root), root, depth + 1)
    if words(schema) and not any(is_a(value, word) for word in words(schema)):
        raise mismatch(place, "a value of type " + " or ".join(words(schema)), value)
    if "enum" in schema and not any(same(value, one) for one in schema["enum"]):
        raise mismatch(place, "one of " + ", ".join(map(repr, schema["enum"])), value)
    if "const" in schema and not same(value, schema["const"]):
        raise mismatch(place, repr(schema["const"]), value)
    measured(value, place, schema)
    chosen(value, place, schema, root, depth)
    if isinstance(value, dict):
        members(value, place, schema, root, depth)
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        for at, one in enumerate(value):
            rest = first[at] if at < len(first) else schema.get("items", True)
            held(one, f"{place}[{at}]", rest, root, depth + 1)
    return value


def is_a(value: Any, word: str) -> bool:
    if isinstance(value, bool):
        return word == "boolean"
    if word == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES[word])


def same(value: Any, other: Any) -> bool:
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def measured(value: Any, place: str, schema: dict[str, Any]) -> None:
    if is_a(value, "number"):
        for word, (fits, said) in BOUNDS.items():
            if word in schema and not fits(value, schema[word]):
                raise mismatch(place, f"{said} {schema[word]}", value)
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        raise mismatch(place, f"a text like {schema['pattern']}", value)
    for kind, (low, high, what) in LENGTHS.items():
        if is_a(value, kind):
            if len(value) < schema.get(low, 0):
                raise mismatch(place, f"{schema[low]} {what} at least", value)
            if len(value) > schema.get(high, len(value)):
                raise mismatch(place, f"{schema[high]} {what} at most", value)


def chosen(value: Any, place: str, schema: dict[str, Any], root: dict[str, Any], depth: int) -> None:
    for one in schema.get("allOf", ()):
        held(value, place, one, root, depth + 1)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            faults = []
            for one in schema[word]:
                try:
                    held(value, place, one, root, depth + 1)
                except Mismatch as fault:
                    faults.append(str(fault))
            fitting = len(schema[word]) - len(faults)
            if not fitting:
                raise Mismatch(" or ".join(faults))
            if word == "oneOf" and fitting > 1:
                raise mismatch(place, "one of several things, and not more than one", value)


def members(
    value: dict[str, Any], place: str, schema: dict[str, Any], root: dict[str, Any], depth: int
) -> None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            raise Mismatch(f"{inside(place, name)} is missing")
    for name, one in value.items():
        if name not in properties and schema.get("additionalProperties", True) is False:
            raise Mismatch(f"{inside(place, name)} is not known: there is {', '.join(properties)}")
        held(
            one,
            inside(place, name),
            properties.get(name, schema.get("additionalProperties", True)),
            root,
            depth + 1,
        )
