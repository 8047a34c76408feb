"""What one row of features is: an object, a list, or a single value; for tables and tensors."""

from __future__ import annotations

from typing import Any

OBJECT, LIST, VALUE, ANY = "object", "list", "value", "any"


def shape(schema: dict[str, Any] | None, examples: list[Any] | None, kind: str | None) -> str:
    """As far as the schema says, else the first example, else the kind of the model."""
    if schema is not None:
        word = resolved(schema, schema).get("type")
        if word in ("object", "array"):
            return OBJECT if word == "object" else LIST
        return VALUE if word in ("integer", "number", "string", "boolean") else ANY
    if examples:
        found = examples[0]
        return OBJECT if isinstance(found, dict) else LIST if isinstance(found, list) else VALUE
    return VALUE if kind == "time-series" else ANY


def resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """A schema without its references, and without what only says that null will do, too."""
    for _ in range(10):  # a reference may lead to itself
        if "$ref" in schema:
            schema = root.get("$defs", {}).get(str(schema["$ref"]).rsplit("/", 1)[-1], {})
            continue
        choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
        if len(choices) != 1:
            break
        schema = choices[0]
    if "type" not in schema and schema.get("enum"):
        words = {bool: "boolean", int: "integer", float: "number", str: "string"}
        types = {type(one) for one in schema["enum"]}
        return {**schema, "type": words.get(types.pop())} if len(types) == 1 else schema
    return schema
