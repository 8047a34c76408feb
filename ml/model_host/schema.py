"""The JSON Schema of `predict`'s features by their type, and the conversion of JSON into that type."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import inspect
import sys
import typing
from typing import Any

from .annotations import apply_notes
from .array_types import ARRAY_BUILDERS, get_qualified_name
from .example import CannotGuessError, build_example
from .mismatch import (
    MAX_FIELD_ERRORS,
    FeatureValidationError,
    build_all,
    combine_alternatives,
    find_name_errors,
    join_path,
    validation_error,
)

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from .mismatch import Build


TYPED_DICT_MARKERS = ("Required", "NotRequired", "ReadOnly")  # around the type of a TypedDict's member


class UnknownTypeError(Exception):
    """A type that JSON Schema has no keyword for, or that is not supported here."""


@dataclasses.dataclass(frozen=True)
class FeatureSchema:
    """The features that a model takes; without a schema, any JSON as it is."""

    schema: dict[str, Any] | None
    build: Build
    is_guessed: bool = False  # True when its example was derived here


ANY_FEATURES = FeatureSchema(None, lambda value, _: value)


def learn_schema(predict: Callable[..., Any]) -> FeatureSchema:
    """Derive the schema from the type of the second parameter (the first is the model); none accepts all.

    An unsupported type is reported on stderr, which is the log: then nothing is checked.
    """
    annotation: Any = ""
    try:
        name = list(inspect.signature(predict).parameters)[1]
        annotation = predict.__annotations__.get(name, "")
        annotation = get_hints(predict)[name]
        schema, build = describe_type(annotation, ())
        if not schema:
            return ANY_FEATURES
        is_guessed = "examples" not in schema
        if is_guessed:
            with contextlib.suppress(CannotGuessError):
                schema = {**schema, "examples": [build_example(schema, schema)]}
        return FeatureSchema(schema, build, is_guessed)
    except Exception:  # noqa: BLE001 (annotations are untrusted code: undefined names, metaclasses)
        if annotation != "":
            log_unknown_type(annotation)
        return ANY_FEATURES


def log_unknown_type(annotation: Any) -> None:
    with contextlib.suppress(Exception):  # a hostile __repr__
        sys.stderr.write(
            f"the type of predict()'s features, {str(annotation)[:200]}, is not known: they are passed on as "
            "JSON has them, and nothing is checked\n"
        )


def describe_type(kind: Any, ancestors: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    """Return the schema and the builder of a type; `ancestors` are the classes around it."""
    if hasattr(kind, "__metadata__"):
        return apply_notes(describe_type(kind.__origin__, ancestors), kind.__metadata__)
    return describe_bare_type(kind, ancestors)


def describe_bare_type(kind: Any, ancestors: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    if kind in SIMPLE_SCHEMAS:
        return describe_simple(kind)
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is typing.Literal:
        return describe_choice(dict.fromkeys(arguments))
    if origin is typing.Union or type(kind).__name__ == "UnionType":
        return describe_union(arguments, ancestors)
    if origin in GENERIC_DESCRIBERS:
        return GENERIC_DESCRIBERS[origin](arguments, ancestors)
    if getattr(origin, "_name", None) in TYPED_DICT_MARKERS:
        return describe_type(arguments[0], ancestors)
    if isinstance(kind, type) and kind not in ancestors:
        return describe_class(kind, (*ancestors, kind))
    raise UnknownTypeError(kind)


SIMPLE_SCHEMAS: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.datetime: {"type": "string", "format": "date-time"},
}
PYTHON_TYPES: dict[str, Any] = {
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "null": (type(None),),
}


def describe_simple(kind: Any) -> tuple[dict[str, Any], Build]:
    schema = SIMPLE_SCHEMAS[kind]
    word = schema["type"]

    def build(value: Any, place: str) -> Any:
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON has one kind of number: 7.0 is 7
        if not isinstance(value, PYTHON_TYPES[word]) or (isinstance(value, bool) and kind is not bool):
            raise validation_error(place, f"a value of type {word}", value)
        if kind is float:
            return float(value)
        if "format" in schema:
            return parse_time(kind, value, place)
        return value

    return schema, build


def parse_time(kind: Any, value: str, place: str) -> Any:
    try:
        return kind.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError as error:
        raise validation_error(place, f"an ISO 8601 {SIMPLE_SCHEMAS[kind]['format']}", value) from error


def describe_choice(members: dict[Any, Any]) -> tuple[dict[str, Any], Build]:
    """Describe one of a few values; `members` maps JSON values to those for the model (None: the same)."""

    def build(value: Any, place: str) -> Any:
        for given, meant in members.items():
            if type(given) is type(value) and given == value:
                return given if meant is None else meant
        raise validation_error(place, "one of " + ", ".join(map(repr, members)), value)

    return {"enum": list(members)}, build


def describe_union(kinds: tuple[Any, ...], ancestors: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    """Describe a union: the first type that fits; None comes last, also for the example."""
    described = [
        describe_type(kind, ancestors) for kind in sorted(kinds, key=lambda kind: kind is type(None))
    ]
    without_none = len([kind for kind in kinds if kind is not type(None)])

    def build(value: Any, place: str) -> Any:
        found = []
        for _, one in described:
            try:
                return one(value, place)
            except FeatureValidationError as fault:
                found.append(fault)
        raise combine_alternatives(found[:without_none], place)

    return {"anyOf": [schema for schema, _ in described]}, build


def describe_array(arguments: tuple[Any, ...], ancestors: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    inner, item = describe_type(arguments[0] if arguments else Any, ancestors)

    def build(value: Any, place: str) -> Any:
        if not isinstance(value, list):
            raise validation_error(place, "a list", value)
        return build_all([(item, one, f"{place}[{i}]") for i, one in enumerate(value)])

    return {"type": "array", "items": inner}, build


def describe_mapping(arguments: tuple[Any, ...], ancestors: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    if arguments and arguments[0] is not str:
        raise UnknownTypeError(arguments[0])
    inner, item = describe_type(arguments[1] if arguments else Any, ancestors)

    def build(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise validation_error(place, "an object", value)
        built = build_all([(item, one, join_path(place, key)) for key, one in value.items()])
        return dict(zip(value, built))  # noqa: B905 (Python 3.8)

    return {"type": "object", "additionalProperties": inner}, build


def describe_any(_: tuple[Any, ...], __: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    return {}, lambda value, _: value


GENERIC_DESCRIBERS: dict[Any, Callable[..., tuple[dict[str, Any], Build]]] = {
    list: describe_array,
    dict: describe_mapping,
    Any: describe_any,
    object: describe_any,
}


def describe_class(kind: Any, ancestors: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    """Describe a class: Enum, dataclass, TypedDict, pydantic model."""
    make: Any = kind
    if get_qualified_name(kind) in ARRAY_BUILDERS:
        return ARRAY_BUILDERS[get_qualified_name(kind)](kind)
    if issubclass(kind, enum.Enum):
        return describe_choice({member.value: member for member in kind})
    if hasattr(kind, "model_json_schema"):
        return kind.model_json_schema(), lambda value, place: validate_pydantic(kind, value, place)
    if dataclasses.is_dataclass(kind):
        fields = [field for field in dataclasses.fields(kind) if field.init]
        needed = {field.name for field in fields if has_no_default(field)}
        notes = {field.name: [field.metadata] for field in fields}
        return describe_fields(kind, notes, needed, lambda found: make(**found), ancestors)
    if hasattr(kind, "__total__"):
        return describe_fields(
            kind, {name: [] for name in get_hints(kind)}, find_required_keys(kind), dict, ancestors
        )
    raise UnknownTypeError(kind)


def find_required_keys(kind: Any) -> set[str]:
    """Return the required keys of a TypedDict, with those that `from __future__ import annotations` hides."""
    needed = set(kind.__required_keys__)
    for name, hint in get_hints(kind).items():
        mark = getattr(typing.get_origin(hint), "_name", None)
        if mark in TYPED_DICT_MARKERS:
            (needed.add if mark == "Required" else needed.discard)(name)
    return needed


def get_hints(thing: Any) -> dict[str, Any]:
    """Return the types of a function's parameters or of a class's fields, with their notes."""
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except TypeError:  # Python 3.8
        return typing.get_type_hints(thing)


def has_no_default(field: Any) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


MAX_NAMES = 20  # of an object's fields in a message


def describe_fields(
    kind: Any,
    notes: dict[str, list[Any]],
    needed: Any,
    make: Callable[[dict[str, Any]], Any],
    ancestors: tuple[Any, ...],
) -> tuple[dict[str, Any], Build]:
    """Describe an object with declared fields; `notes` has the notes of each."""
    hints, names = get_hints(kind), list(notes)
    described = {name: apply_notes(describe_type(hints[name], ancestors), notes[name]) for name in names}

    def build(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise validation_error(place, "an object with {}".format(", ".join(names[:MAX_NAMES])), value)
        faults = find_name_errors(place, names, [name for name in names if name in needed], value)
        given = [name for name in value if name in described]
        parts = [(described[name][1], value[name], join_path(place, name)) for name in given]
        return make(dict(zip(given, build_all(parts, faults))))  # noqa: B905 (Python 3.8)

    schema = {
        "title": kind.__name__,
        "type": "object",
        "properties": {name: inner for name, (inner, _) in described.items()},
        "required": [name for name in names if name in needed],
        "additionalProperties": False,
    }
    return schema, build


def validate_pydantic(kind: Any, value: Any, place: str) -> Any:
    try:
        return kind.model_validate(value)
    except ValueError as error:
        errors = error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]
        faults = []
        for fault in errors[:MAX_FIELD_ERRORS]:
            where = place
            for step in fault["loc"]:
                where = f"{where}[{step}]" if isinstance(step, int) else join_path(where, str(step))
            faults.append((where, "{}: {}".format(where or "features", fault["msg"])))
        raise FeatureValidationError(*faults) from error
