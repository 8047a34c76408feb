"""Lists in the form: what one row of a list asks for, where its items are values or objects of values."""

from dataclasses import dataclass
from typing import Any

from ml.model.shape import resolved

SIMPLE = ("integer", "number", "string", "boolean")
MOST = 50  # rows that are typed one by one; longer lists are JSON text


@dataclass(frozen=True)
class Column:
    """An input of each row: `name` is the member of an object, None where the item is the value itself."""

    name: str | None
    title: str
    kind: str  # integer, number, string, boolean or choice
    required: bool
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Rows:
    columns: tuple[Column, ...]
    least: int
    most: int


def rows(schema: dict[str, Any], whole: dict[str, Any]) -> Rows | None:
    """Of a list whose rows can be typed one by one; None of everything else."""
    least, most = schema.get("minItems", 0), min(schema.get("maxItems", MOST), MOST)
    if schema.get("type") != "array" or "prefixItems" in schema or least > most:
        return None
    item = resolved(schema.get("items", {}), whole)
    columns = columns_of(item, whole) if item.get("properties") else [column(None, item, required=True)]
    found = tuple(one for one in columns if one is not None)
    return Rows(found, least, most) if found and len(found) == len(columns) else None


def columns_of(item: dict[str, Any], whole: dict[str, Any]) -> list[Column | None]:
    needed = item.get("required", ())
    return [
        column(name, resolved(inner, whole), required=name in needed)
        for name, inner in item["properties"].items()
    ]


def column(name: str | None, schema: dict[str, Any], *, required: bool) -> Column | None:
    kind = "choice" if schema.get("enum") else schema.get("type")
    if kind != "choice" and kind not in SIMPLE:
        return None
    title = str(schema.get("title") or (name or "value").replace("_", " "))
    bounds = schema.get("minimum"), schema.get("maximum")
    return Column(name, title, str(kind), required, tuple(schema.get("enum", ())), *bounds)
