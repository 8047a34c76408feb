"""The fields of the form: from the model's schema, else one that takes any JSON."""

import math
from dataclasses import dataclass
from typing import Any

import msgspec

from ml.serving.live import Live

SERIES = {"type": "integer", "title": "Number of days", "minimum": 1, "maximum": 3650}
SIMPLE = ("integer", "number", "string", "boolean")


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


def fields(live: Live, pairs: list[tuple[str, str]]) -> list[Field]:
    """One for each property of an object of simple values, else one for the whole."""
    typed = dict(pairs)
    schema, example = live.schema, live.example
    given = example[0] if example else None
    if schema is None and live.release.kind == "time-series" and (example is None or isinstance(given, int)):
        name = "num_days"
        typed = {name: next(iter(typed.values()))} if typed else {name: "7"}
        return [field(name, SERIES, typed, given, required=True)]
    properties: dict[str, Any] = (schema or {}).get("properties", {})
    if properties and all(kind(inner) != "json" for inner in properties.values()):
        needed = (schema or {}).get("required", ())
        examples = given if isinstance(given, dict) else {}
        return [
            field(name, inner, typed, examples.get(name), required=name in needed)
            for name, inner in properties.items()
        ]
    if len(typed) == 1:
        typed = {"features": next(iter(typed.values()))}
    elif typed:
        typed = {"features": msgspec.json.encode(typed).decode()}
    return [field("features", schema or {}, typed, given, required=True)]


def field(name: str, schema: dict[str, Any], typed: dict[str, str], example: Any, *, required: bool) -> Field:
    choices = tuple(said(choice) for choice in schema.get("enum", ()))
    words = name.replace("_", " ")
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
    )


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
