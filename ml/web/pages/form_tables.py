"""Lists in the form: the inputs of one row, where the items are values or objects of values."""

from dataclasses import dataclass
from typing import Any

from ml.model_host.feature_kind import resolve_schema

SIMPLE_TYPES = ("integer", "number", "string", "boolean")
MAX_ROWS = 50  # rows that are typed one by one; longer lists are JSON text


@dataclass(frozen=True)
class FormColumn:
    """An input of each row: `name` is the member of an object, None where the item is the value itself."""

    name: str | None
    title: str
    kind: str  # integer, number, string, boolean or choice
    required: bool
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class FormTable:
    columns: tuple[FormColumn, ...]
    least: int
    most: int


def build_table(schema: dict[str, Any], whole: dict[str, Any]) -> FormTable | None:
    """Return the table of a list whose rows can be typed one by one; None of everything else."""
    least, most = schema.get("minItems", 0), min(schema.get("maxItems", MAX_ROWS), MAX_ROWS)
    if schema.get("type") != "array" or "prefixItems" in schema or least > most:
        return None
    item = resolve_schema(schema.get("items", {}), whole)
    columns = (
        build_columns(item, whole) if item.get("properties") else [build_column(None, item, required=True)]
    )
    found = tuple(one for one in columns if one is not None)
    return FormTable(found, least, most) if found and len(found) == len(columns) else None


def build_columns(item: dict[str, Any], whole: dict[str, Any]) -> list[FormColumn | None]:
    needed = item.get("required", ())
    return [
        build_column(name, resolve_schema(inner, whole), required=name in needed)
        for name, inner in item["properties"].items()
    ]


def build_column(name: str | None, schema: dict[str, Any], *, required: bool) -> FormColumn | None:
    kind = "choice" if schema.get("enum") else schema.get("type")
    if kind != "choice" and kind not in SIMPLE_TYPES:
        return None
    title = str(schema.get("title") or (name or "value").replace("_", " "))
    bounds = schema.get("minimum"), schema.get("maximum")
    return FormColumn(name, title, str(kind), required, tuple(schema.get("enum", ())), *bounds)
