"""Named values (a row of a table, tensors side by side) made into the features that the model takes."""

from typing import Any, Literal

import msgspec

from ml.serving.live import Live

Kind = Literal["object", "list", "value", "any"]


def kind(live: Live) -> Kind:
    """What a row is, as far as the schema says, else the example, else the kind of the model."""
    if live.schema is not None:
        word = resolved(live.schema, live.schema).get("type")
        if word in ("object", "array"):
            return "object" if word == "object" else "list"
        return "value" if word in ("integer", "number", "string", "boolean") else "any"
    if live.example:
        found = live.example[0]
        return "object" if isinstance(found, dict) else "list" if isinstance(found, list) else "value"
    return "value" if live.release.kind == "time-series" else "any"


def resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """A schema without its references, and without what only says that null will do, too."""
    for _ in range(10):  # a reference may lead to itself
        if "$ref" in schema:
            schema = root.get("$defs", {}).get(str(schema["$ref"]).rsplit("/", 1)[-1], {})
        elif len(choices := [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]) == 1:
            schema = choices[0]
        else:
            break
    if "type" not in schema and schema.get("enum"):
        words = {bool: "boolean", int: "integer", float: "number", str: "string"}
        types = {type(one) for one in schema["enum"]}
        return {**schema, "type": words.get(types.pop())} if len(types) == 1 else schema
    return schema


def row(names: list[str], values: list[bytes], wanted: Kind) -> bytes:
    """One row's features as JSON, of values that are JSON already."""
    if wanted == "list":
        return b"[" + b",".join(values) + b"]"
    if wanted == "value" and len(values) == 1:
        return values[0]
    keys = (msgspec.json.encode(name) for name in names)
    return b"{" + b",".join(key + b":" + value for key, value in zip(keys, values, strict=True)) + b"}"
