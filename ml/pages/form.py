"""The fields of the form: from the model's schema, else one that takes any JSON."""

import math
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from ml.model.shape import resolved
from ml.pages.lists import SIMPLE, Rows, rows
from ml.serving.live import Live

SERIES = {"type": "integer", "title": "Number of days", "minimum": 1, "maximum": 3650}


@dataclass(frozen=True)
class Field:
    """One input: `kind` is integer, number, string, boolean, choice or json."""

    name: str
    title: str
    kind: str
    value: str
    placeholder: str
    required: bool
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    rows: Rows | None = (
        None  # of a list that is typed row by row, where there is a script; it is JSON all the same
    )


def fields(live: Live, pairs: list[tuple[str, str]]) -> list[Field]:
    """One for each property of an object of simple values, else one for the whole."""
    typed = dict(pairs)
    schema, example = live.schema, live.example
    whole = schema or {}
    given = example[0] if example else None
    if schema is None and live.release.kind == "time-series" and (example is None or isinstance(given, int)):
        name = "num_days"
        typed = {name: next(iter(typed.values()))} if typed else {name: "7"}
        return [field(name, SERIES, typed, given, required=True, whole=whole)]
    if (found := flat(whole, whole)) and set(typed) <= {leaf.name for leaf in found}:
        return [
            field(
                leaf.name, leaf.schema, typed, within(given, leaf.name), required=leaf.required, whole=whole
            )
            for leaf in found
        ]
    if len(typed) == 1:
        typed = {"features": next(iter(typed.values()))}
    elif typed:
        typed = {"features": msgspec.json.encode(typed).decode()}
    return [field("features", resolved(whole, whole), typed, given, required=True, whole=whole)]


@dataclass(frozen=True)
class Leaf:
    """A value inside the object that a model takes; its name has a dot for each object around it."""

    name: str
    schema: dict[str, Any]
    required: bool


def flat(schema: dict[str, Any], whole: dict[str, Any], around: str = "", depth: int = 0) -> list[Leaf]:
    """The values of an object and of those inside it; deeper ones than four are typed as JSON."""
    leaves = []
    for name, inner in schema.get("properties", {}).items():
        resolved, required = refer(inner, whole), name in schema.get("required", ())
        if resolved.get("properties") and depth < 4 and "." not in name:
            leaves += flat(resolved, whole, f"{around}{name}.", depth + 1)
        else:
            leaves.append(Leaf(around + name, resolved, required))
    return leaves


def refer(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """What a reference into the schema's own definitions stands for."""
    place = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    found = whole.get("$defs", {}).get(place, schema)
    return found if isinstance(found, dict) else schema


def within(given: Any, name: str) -> Any:
    for part in name.split("."):
        given = given.get(part) if isinstance(given, dict) else None
    return given


def field(
    name: str,
    schema: dict[str, Any],
    typed: dict[str, str],
    example: Any,
    *,
    required: bool,
    whole: dict[str, Any],
) -> Field:
    choices = tuple(said(choice) for choice in schema.get("enum", ()))
    words = name.replace("_", " ").replace(".", ": ")
    value = typed.get(name, said(example) if example is not None else "")
    return Field(
        name,
        schema.get("title") or words[:1].upper() + words[1:],
        kind(schema) if name not in typed or fits(value, kind(schema)) else "string",
        value,
        said(example) if example is not None else '{"x": 1} or [1, 2, 3] or 7',
        required,
        choices,
        schema.get("minimum"),
        schema.get("maximum"),
        rows(schema, whole),
    )


def wrong(asked: list[Field], detail: str) -> str | None:
    """The field that an error is about, when it names one: the longest name, as names hold each other."""
    named = [f.name for f in asked if re.search(rf"(?<![\w.]){re.escape(f.name)}(?![\w.])", detail)]
    return max(named, key=len, default=None)


def labelled(asked: list[Field], name: str, detail: str) -> str:
    """What is wrong with a field, by the label that people see."""
    title = next(f.title for f in asked if f.name == name)
    return re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w.])", lambda _: title, detail, count=1)


def kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "choice"
    return schema["type"] if schema.get("type") in SIMPLE else "json"


def fits(text: str, word: str) -> bool:
    """Whether a browser's field of this kind can show the text: what was typed stays, right or wrong."""
    if word not in ("integer", "number"):
        return True
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def said(value: Any) -> str:
    """A value as it is typed into an address."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
