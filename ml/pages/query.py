"""Features from an address: `?num_days=7` is 7, `?x=1&y=true` is {"x": 1, "y": true}."""

from collections.abc import Iterable
from typing import Any

import msgspec

from ml.pages import form


def features(pairs: Iterable[tuple[str, str]], schema: dict[str, Any] | None) -> Any:
    """A single value goes by any name, unless the model asks for an object with a field of that name."""
    given: dict[str, list[str]] = {}
    for name, text in pairs:
        given.setdefault(name, []).append(text)
    fields = (schema or {}).get("properties", {})
    if len(given) == 1 and next(iter(given)).split(".")[0] not in fields:
        return value(next(iter(given.values())), schema)
    leaves = {leaf.name: leaf.schema for leaf in form.flat(schema or {}, schema or {})}
    asked: dict[str, Any] = {}
    for name, texts in given.items():
        *around, last = name.split(".") if name in leaves else [name]
        inside = asked
        for part in around:
            inside = inside.setdefault(part, {})
        inside[last] = value(texts, leaves.get(name))
    return asked


def value(texts: list[str], schema: dict[str, Any] | None) -> Any:
    """A name that is given more than once is a list."""
    inner = (schema or {}).get("items") if len(texts) > 1 else schema
    values = [parsed(text, inner) for text in texts]
    return values[0] if len(values) == 1 else values


def parsed(text: str, schema: dict[str, Any] | None) -> Any:
    """JSON when it is JSON, else the text itself; a text where the model asks for one."""
    if schema and (schema.get("type") == "string" or text in schema.get("enum", ())):
        return text
    try:
        return msgspec.json.decode(text.strip())
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return text
