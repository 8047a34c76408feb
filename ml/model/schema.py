"""What `predict` takes, learnt from the type of its `features`: a JSON Schema, and JSON made into that."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import inspect
import typing
from typing import Any

from .example import Guess, example

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    Build = Callable[[Any, str], Any]  # a JSON value and its place → what the model gets; raises Mismatch


class Mismatch(ValueError):
    """Features that are not of the type that the model asks for; the text names the place."""


class Unknown(Exception):
    """A type that JSON Schema has no word for, or that is not followed here."""


@dataclasses.dataclass(frozen=True)
class Taken:
    """What a model takes; without a schema it takes any JSON as it is."""

    schema: dict[str, Any] | None
    build: Build


ANYTHING = Taken(None, lambda value, _: value)


def learn(predict: Callable[..., Any]) -> Taken:
    """From the annotation of the second parameter (the first is the model); unannotated: anything goes."""
    try:
        name = list(inspect.signature(predict).parameters)[1]
        annotation = typing.get_type_hints(predict)[name]
        schema, build = describe(annotation, ())
        if not schema:
            return ANYTHING
        if "examples" not in schema:
            with contextlib.suppress(Guess):
                schema = {**schema, "examples": [example(schema, schema)]}
        return Taken(schema, build)
    except Exception:  # noqa: BLE001 (annotations are foreign code too: names that do not exist, metaclasses)
        return ANYTHING


def describe(kind: Any, around: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    """Schema and builder of a type; `around` are the classes it stands in."""
    if kind in SIMPLE:
        return simple(kind)
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is typing.Literal:
        return choice(dict.fromkeys(arguments))
    if origin is typing.Union or type(kind).__name__ == "UnionType":
        return union(arguments, around)
    if origin in GENERIC:
        return GENERIC[origin](arguments, around)
    if isinstance(kind, type) and kind not in around:
        return named(kind, (*around, kind))
    raise Unknown(kind)


SIMPLE: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    type(None): {"type": "null"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.datetime: {"type": "string", "format": "date-time"},
}
PYTHON: dict[str, Any] = {
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "null": (type(None),),
}


def simple(kind: Any) -> tuple[dict[str, Any], Build]:
    schema = SIMPLE[kind]
    word = schema["type"]

    def build(value: Any, place: str) -> Any:
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON knows one kind of number: 7.0 is 7
        if not isinstance(value, PYTHON[word]) or (isinstance(value, bool) and kind is not bool):
            raise mismatch(place, f"a value of type {word}", value)
        if kind is float:
            return float(value)
        if "format" in schema:
            return moment(kind, value, place)
        return value

    return schema, build


def moment(kind: Any, value: str, place: str) -> Any:
    try:
        return kind.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError as error:
        raise mismatch(place, f"an ISO 8601 {SIMPLE[kind]['format']}", value) from error


def choice(members: dict[Any, Any]) -> tuple[dict[str, Any], Build]:
    """One of a few values; `members` maps what JSON says to what the model is given (None: the same)."""

    def build(value: Any, place: str) -> Any:
        for said, meant in members.items():
            if type(said) is type(value) and said == value:
                return said if meant is None else meant
        raise mismatch(place, "one of " + ", ".join(map(repr, members)), value)

    return {"enum": list(members)}, build


def union(kinds: tuple[Any, ...], around: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    """The first that fits; what None is good for comes last in the example."""
    described = [describe(kind, around) for kind in sorted(kinds, key=lambda kind: kind is type(None))]

    def build(value: Any, place: str) -> Any:
        faults = []
        for _, one in described:
            try:
                return one(value, place)
            except Mismatch as fault:
                faults.append(str(fault))
        raise Mismatch(" or ".join(faults))

    return {"anyOf": [schema for schema, _ in described]}, build


def array(arguments: tuple[Any, ...], around: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    inner, item = describe(arguments[0] if arguments else Any, around)

    def build(value: Any, place: str) -> Any:
        if not isinstance(value, list):
            raise mismatch(place, "a list", value)
        return [item(one, f"{place}[{i}]") for i, one in enumerate(value)]

    return {"type": "array", "items": inner}, build


def mapping(arguments: tuple[Any, ...], around: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    if arguments and arguments[0] is not str:
        raise Unknown(arguments[0])
    inner, item = describe(arguments[1] if arguments else Any, around)

    def build(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise mismatch(place, "an object", value)
        return {key: item(one, inside(place, key)) for key, one in value.items()}

    return {"type": "object", "additionalProperties": inner}, build


def anything(_: tuple[Any, ...], __: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    return {}, lambda value, _: value


GENERIC: dict[Any, Callable[..., tuple[dict[str, Any], Build]]] = {
    list: array,
    dict: mapping,
    Any: anything,
    object: anything,
}


def named(kind: Any, around: tuple[Any, ...]) -> tuple[dict[str, Any], Build]:
    """Classes: Enum, dataclass, TypedDict, pydantic model."""
    make: Any = kind
    if issubclass(kind, enum.Enum):
        return choice({member.value: member for member in kind})
    if hasattr(kind, "model_json_schema"):
        return kind.model_json_schema(), lambda value, place: pydantic(kind, value, place)
    if dataclasses.is_dataclass(kind):
        known = [field for field in dataclasses.fields(kind) if field.init]
        needed = {field.name for field in known if without_default(field)}
        return fields(kind, [field.name for field in known], needed, lambda found: make(**found), around)
    if hasattr(kind, "__total__"):
        return fields(kind, list(kind.__annotations__), kind.__required_keys__, dict, around)
    raise Unknown(kind)


def without_default(field: Any) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def fields(
    kind: Any, names: list[str], needed: Any, make: Callable[[dict[str, Any]], Any], around: tuple[Any, ...]
) -> tuple[dict[str, Any], Build]:
    """An object with known fields."""
    hints = typing.get_type_hints(kind)
    described = {name: describe(hints[name], around) for name in names}

    def build(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise mismatch(place, "an object", value)
        for name in names:
            if name in needed and name not in value:
                raise Mismatch(f"{inside(place, name)} is missing")
        for name in value:
            if name not in described:
                raise Mismatch(f"{inside(place, name)} is not known: there is {', '.join(names)}")
        return make({name: described[name][1](one, inside(place, name)) for name, one in value.items()})

    schema = {
        "title": kind.__name__,
        "type": "object",
        "properties": {name: inner for name, (inner, _) in described.items()},
        "required": [name for name in names if name in needed],
        "additionalProperties": False,
    }
    return schema, build


def pydantic(kind: Any, value: Any, place: str) -> Any:
    try:
        return kind.model_validate(value)
    except ValueError as error:
        errors = error.errors() if hasattr(error, "errors") else [{"loc": (), "msg": str(error)}]
        said = []
        for fault in errors:
            where = place
            for step in fault["loc"]:
                where = f"{where}[{step}]" if isinstance(step, int) else inside(where, str(step))
            said.append("{}: {}".format(where or "features", fault["msg"]))
        raise Mismatch("; ".join(said)) from error


def inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def mismatch(place: str, wanted: str, value: Any) -> Mismatch:
    got = repr(value)
    return Mismatch(
        f"{place or 'features'} has to be {wanted}, not {got if len(got) < 60 else got[:60] + '…'}"
    )
