"""The fields of the form: those of the model's schema, else one that takes any JSON."""

import math
import re
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlencode

import msgspec

from ml.model_host.feature_kind import resolve_schema, takes_null
from ml.serving.registry import LoadedRelease
from ml.web.pages.form_tables import SIMPLE_TYPES, FormTable, build_table

EXAMPLE_DAYS = (7, 30, 365)
MAX_EXAMPLES, MAX_QUERY_CHARS = 5, 2000  # examples to click; characters of their query strings
MAX_DESCRIPTION_CHARS = 300  # characters of a description
DAYS_SCHEMA = {"type": "integer", "title": "Number of days", "minimum": 1, "maximum": 3650}


@dataclass(frozen=True)
class FormField:
    """One input of the form: `kind` is integer, number, string, boolean, choice or json."""

    name: str
    title: str
    kind: str
    value: str
    placeholder: str
    required: bool
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    # of a list that is typed row by row, where scripts run; it is sent as JSON all the same
    rows: FormTable | None = None
    description: str = ""
    unit: str = ""


@dataclass(frozen=True)
class FormExample:
    """An example to click: its label, and the query string that predicts for it."""

    label: str
    query: str


def build_fields(loaded: LoadedRelease, pairs: list[tuple[str, str]]) -> list[FormField]:
    """Return a field for each property of an object of simple values, else one for all features."""
    typed = dict(pairs)
    schema, example = loaded.schema, loaded.example
    whole = schema or {}
    given = example[0] if example else None
    if is_days_model(loaded):
        name = "num_days"
        typed = {name: next(iter(typed.values()))} if typed else {name: "7"}
        return [build_field(name, {**DAYS_SCHEMA, **whole}, typed, given, required=True, whole=whole)]
    if (found := flatten_schema(resolve_schema(whole, whole), whole)) and set(typed) <= {
        leaf.name for leaf in found
    }:
        return [
            build_field(
                leaf.name,
                leaf.schema,
                typed,
                get_nested(given, leaf.name),
                required=leaf.required,
                whole=whole,
            )
            for leaf in found
        ]
    if len(typed) == 1:
        typed = {"features": next(iter(typed.values()))}
    elif typed:
        typed = {"features": msgspec.json.encode(typed).decode()}
    return [build_field("features", resolve_schema(whole, whole), typed, given, required=True, whole=whole)]


def is_days_model(loaded: LoadedRelease) -> bool:
    """Return True for a series model that takes only a number of days, as far as it declares."""
    given = loaded.example[0] if loaded.example else None
    takes_days = (
        given is None or isinstance(given, int)
        if loaded.schema is None
        else loaded.schema.get("type") == "integer"
    )
    return loaded.release.kind == "time-series" and takes_days


def find_examples(loaded: LoadedRelease, fields: list[FormField]) -> list[FormExample]:
    """Return the model's examples; for a series with none or one, a week, a month and a year."""
    given = loaded.pool.handshake.examples or loaded.row or (loaded.schema or {}).get("examples") or []
    if is_days_model(loaded) and len(given) < 2:
        low, high = fields[0].minimum or 1, fields[0].maximum or max(EXAMPLE_DAYS)
        given = [days for days in EXAMPLE_DAYS if low <= days <= high]
    found = (FormExample(describe_example(one), urlencode(fill_fields(fields, one))) for one in given)
    return list(islice((one for one in found if len(one.query) < MAX_QUERY_CHARS), MAX_EXAMPLES))


def fill_fields(fields: list[FormField], example: Any) -> list[tuple[str, str]]:
    """Return an example as it is typed into the fields."""
    if len(fields) == 1 and (not isinstance(example, dict) or fields[0].name not in example):
        return [(fields[0].name, format_value(example))]
    values = [(one.name, get_nested(example, one.name)) for one in fields]
    return [(name, format_value(value)) for name, value in values if value is not None]


def describe_example(example: Any) -> str:
    words = (
        ", ".join(f"{name}: {format_value(value)}" for name, value in example.items())
        if isinstance(example, dict)
        else format_value(example)
    )
    return words if len(words) <= 60 else words[:60] + "…"


@dataclass(frozen=True)
class SchemaLeaf:
    """A value inside the object that a model takes; its name has a dot for each object around it."""

    name: str
    schema: dict[str, Any]
    required: bool
    must_be_given: bool = False  # as null, where nothing is typed


def flatten_schema(
    schema: dict[str, Any], whole: dict[str, Any], prefix: str = "", depth: int = 0
) -> list[SchemaLeaf]:
    """Return the values of an object and of those inside it; levels below the fourth are typed as JSON."""
    leaves = []
    for name, inner in schema.get("properties", {}).items():
        plain, required = resolve_schema(inner, whole), name in schema.get("required", ())
        may_be_null = takes_null(inner, whole)
        if plain.get("properties") and depth < 4 and "." not in name and not may_be_null:
            leaves += flatten_schema(plain, whole, f"{prefix}{name}.", depth + 1)
        else:
            leaves.append(
                SchemaLeaf(prefix + name, plain, required and not may_be_null, required and may_be_null)
            )
    return leaves


def get_nested(given: Any, name: str) -> Any:
    for part in name.split("."):
        given = given.get(part) if isinstance(given, dict) else None
    return given


def build_field(
    name: str,
    schema: dict[str, Any],
    typed: dict[str, str],
    example: Any,
    *,
    required: bool,
    whole: dict[str, Any],
) -> FormField:
    choices = tuple(format_value(choice) for choice in schema.get("enum", ()))
    words = name.replace("_", " ").replace(".", ": ")
    value = typed.get(name, format_value(example) if example is not None else "")
    return FormField(
        name,
        str(schema.get("title") or words[:1].upper() + words[1:]),
        find_input_kind(schema)
        if name not in typed or can_show(value, find_input_kind(schema))
        else "string",
        value,
        format_value(example) if example is not None else '{"x": 1} or [1, 2, 3] or 7',
        required,
        choices,
        schema.get("minimum"),
        schema.get("maximum"),
        build_table(schema, whole),
        str(schema.get("description") or "")[:MAX_DESCRIPTION_CHARS],
        str(schema.get("unit") or "")[:MAX_DESCRIPTION_CHARS],
    )


def match_errors(fields: list[FormField], errors: list[dict[str, str]]) -> tuple[dict[str, str], list[str]]:
    """Return the errors by field name, worded with the field's label, and those of no field."""
    by_name: dict[str, str] = {}
    others = []
    for error in errors:
        path, detail = error["at"], error["message"]
        around = [f for f in fields if re.match(rf"{re.escape(f.name)}(?![^.\[])", path)]
        if not path and len(fields) == 1:
            around, detail = fields, detail.replace("features", fields[0].name, 1)
        if not around:
            others.append(detail)
            continue
        found = max(around, key=lambda one: len(one.name))
        message = detail.replace(found.name, found.title, 1)
        by_name[found.name] = f"{by_name[found.name]}; {message}" if found.name in by_name else message
    return by_name, others


def find_input_kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "choice"
    return schema["type"] if schema.get("type") in SIMPLE_TYPES else "json"


def can_show(text: str, word: str) -> bool:
    """Return True when a browser's field of this kind can show the text: typed text stays, right or wrong."""
    if word not in ("integer", "number"):
        return True
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def format_value(value: Any) -> str:
    """Return a value as it is typed into a URL."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
