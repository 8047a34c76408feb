"""The JSON Schema in `info()["features"]`, which declares the features where `predict` has no type."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from .example import CannotGuessError, build_example
from .mismatch import (
    FeatureValidationError,
    build_all,
    combine_alternatives,
    find_name_errors,
    join_path,
    validation_error,
)
from .schema import ANY_FEATURES, FeatureSchema, UnknownTypeError
from .to_json import to_json_value
from .value_bounds import JSON_TYPES, check_bounds, is_json_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from .mismatch import Build

DESCRIBING_KEYWORDS = ("type", "properties", "items", "enum", "const", "anyOf", "oneOf", "allOf", "$ref")


def parse_declared_schema(info: Any) -> FeatureSchema:
    """Parse the schema in `info`, which the model's info() returned; an unsupported one declares nothing."""
    try:
        schema = to_json_value(info["features"])
        if not isinstance(schema, dict) or not any(word in schema for word in DESCRIBING_KEYWORDS):
            return ANY_FEATURES
        check_supported(schema, schema)
        if "examples" not in schema:
            with contextlib.suppress(CannotGuessError):
                schema = {**schema, "examples": [build_example(schema, schema)]}
        return FeatureSchema(schema, lambda value, place: validate_value(value, place, schema, schema, 0))
    except Exception:  # noqa: BLE001 (info() may hold anything by that name)
        return ANY_FEATURES


def check_supported(schema: Any, root: dict[str, Any]) -> None:
    """Raise unless every part of a schema is one that `validate_value` supports."""
    if isinstance(schema, bool):
        return
    for word in list_types(schema):
        if word not in JSON_TYPES:
            raise UnknownTypeError(word)
    if "$ref" in schema:
        resolve_ref(schema["$ref"], root)
    if "pattern" in schema:
        re.compile(schema["pattern"])
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += [schema[word] for word in ("items", "additionalProperties", "not") if word in schema]
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        inner += schema.get(word, ())
    for one in inner:
        check_supported(one, root)


def list_types(schema: dict[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def resolve_ref(reference: str, root: dict[str, Any]) -> Any:
    found: Any = root
    if not reference.startswith("#"):
        raise UnknownTypeError(reference)
    for step in reference[1:].split("/")[1:]:
        found = found[step]
    return found


def validate_value(value: Any, place: str, schema: Any, root: dict[str, Any], depth: int) -> Any:
    """Return the value when the schema allows it; raises `FeatureValidationError` with the place."""
    if isinstance(schema, bool) or depth > 100:
        if schema is True:
            return value
        raise validation_error(place, "left out", value)
    if "$ref" in schema:
        validate_value(value, place, resolve_ref(schema["$ref"], root), root, depth + 1)
    if list_types(schema) and not any(is_json_type(value, word) for word in list_types(schema)):
        raise validation_error(place, "a value of type " + " or ".join(list_types(schema)), value)
    if "enum" in schema and not any(is_same(value, one) for one in schema["enum"]):
        raise validation_error(place, "one of " + ", ".join(map(repr, schema["enum"])), value)
    if "const" in schema and not is_same(value, schema["const"]):
        raise validation_error(place, repr(schema["const"]), value)
    check_bounds(value, place, schema)
    validate_choices(value, place, schema, root, depth)

    def within(inner: Any) -> Build:
        return lambda one, where: validate_value(one, where, inner, root, depth + 1)

    if isinstance(value, dict):
        validate_members(value, place, schema, within)
    if isinstance(value, list):
        first, rest = schema.get("prefixItems", []), schema.get("items", True)
        inner = [*first[: len(value)], *[rest] * (len(value) - len(first))]
        pairs = enumerate(zip(inner, value))  # noqa: B905 (Python 3.8)
        build_all([(within(of), one, f"{place}[{at}]") for at, (of, one) in pairs])
    return value


def is_same(value: Any, other: Any) -> bool:
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def validate_choices(
    value: Any, place: str, schema: dict[str, Any], root: dict[str, Any], depth: int
) -> None:
    for one in schema.get("allOf", ()):
        validate_value(value, place, one, root, depth + 1)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            faults: list[FeatureValidationError] = []
            of_types = []  # those that tell more than that it is not null
            for one in schema[word]:
                try:
                    validate_value(value, place, one, root, depth + 1)
                except FeatureValidationError as fault:
                    faults.append(fault)
                    of_types += [fault] if one != {"type": "null"} else []
            fitting = len(schema[word]) - len(faults)
            if not fitting:
                raise combine_alternatives(of_types or faults, place)
            if word == "oneOf" and fitting > 1:
                raise validation_error(place, "one of several things, and not more than one", value)


def validate_members(
    value: dict[str, Any], place: str, schema: dict[str, Any], within: Callable[[Any], Build]
) -> None:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    allowed = list(properties if others is False else value)
    faults = find_name_errors(place, allowed, schema.get("required", []), value)
    parts = [
        (within(properties.get(name, others)), value[name], join_path(place, name))
        for name in value
        if name in properties or others is not False
    ]
    build_all(parts, faults)
