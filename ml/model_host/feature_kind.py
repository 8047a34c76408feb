"""The kind of one row of features, an object, a list, or a single value; for tables and tensors."""

from __future__ import annotations

from typing import Any

OBJECT, LIST, VALUE, ANY = "object", "list", "value", "any"


def infer_kind(schema: dict[str, Any] | None, examples: list[Any] | None, model_kind: str | None) -> str:
    """Return the kind of a row by the schema, else by the first example, else by the kind of the model."""
    if schema is not None:
        word = resolve_schema(schema, schema).get("type")
        if word in ("object", "array"):
            return OBJECT if word == "object" else LIST
        return VALUE if word in ("integer", "number", "string", "boolean") else ANY
    if examples:
        found = examples[0]
        return OBJECT if isinstance(found, dict) else LIST if isinstance(found, list) else VALUE
    return VALUE if model_kind == "time-series" else ANY


def has_several_types(schema: dict[str, Any]) -> bool:
    """Return True when it names several types, as `["string", "null"]`."""
    return isinstance(schema.get("type"), list)


def takes_null(schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Return True when null fits a schema, as far as its types tell."""
    for _ in range(10):  # a reference may lead to itself
        if "$ref" not in schema:
            break
        schema = root.get("$defs", {}).get(str(schema["$ref"]).rsplit("/", 1)[-1], {})
    words = schema.get("type", ())
    if "null" in ([words] if isinstance(words, str) else words):
        return True
    choices = (*schema.get("anyOf", ()), *schema.get("oneOf", ()))
    return any(isinstance(one, dict) and "null" in str(one.get("type", "")) for one in choices)


def resolve_schema(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without its references, and without alternatives that only allow null.

    Title, description and unit next to a reference stay.
    """
    own: dict[str, Any] = {word: schema[word] for word in ("title", "description", "unit") if word in schema}
    found = _resolve_schema(schema, root)
    return {**found, **own} if own else found


def _resolve_schema(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    for _ in range(10):  # a reference may lead to itself
        if "$ref" in schema:
            schema = root.get("$defs", {}).get(str(schema["$ref"]).rsplit("/", 1)[-1], {})
            continue
        choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
        if len(choices) != 1:
            break
        schema = choices[0]
    types = [word for word in schema.get("type", ()) if word != "null"] if has_several_types(schema) else []
    if len(types) == 1:
        return {**schema, "type": types[0]}
    if "type" not in schema and schema.get("enum"):
        words = {bool: "boolean", int: "integer", float: "number", str: "string"}
        found = {type(one) for one in schema["enum"]}
        return {**schema, "type": words.get(found.pop())} if len(found) == 1 else schema
    return schema
