"""Features from a query string: `?num_days=7` is 7, `?x=1&y=true` is {"x": 1, "y": true}."""

from collections.abc import Iterable
from typing import Any

import msgspec

from ml.model_host.feature_kind import resolve_schema
from ml.web.pages import form_fields


def parse_features(pairs: Iterable[tuple[str, str]], schema: dict[str, Any] | None) -> Any:
    """Parse features; a single value may have any name, unless the model takes an object with that field."""
    given: dict[str, list[str]] = {}
    for name, text in pairs:
        given.setdefault(name, []).append(text)
    whole = schema or {}
    fields = resolve_schema(whole, whole).get("properties", {})
    if len(given) == 1 and next(iter(given)).split(".")[0] not in fields:
        return parse_value(next(iter(given.values())), whole, whole)
    leaves = {leaf.name: leaf for leaf in form_fields.flatten_schema(whole, whole)}
    features: dict[str, Any] = {}
    for name, leaf in leaves.items():
        if leaf.must_be_given and name not in given:
            set_nested(features, name.split("."), None)
    for name, texts in given.items():
        around = name.split(".") if name in leaves else [name]
        set_nested(features, around, parse_value(texts, leaves[name].schema if name in leaves else {}, whole))
    return features


def set_nested(features: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a value inside the objects that `path` names before its last name."""
    *path, last = path
    for part in path:
        features = features.setdefault(part, {})
    features[last] = value


def parse_value(texts: list[str], schema: dict[str, Any], whole: dict[str, Any]) -> Any:
    """Parse a name's texts: more than one are a list, and so is one whose field is a list."""
    schema = resolve_schema(schema, whole)
    if schema.get("type") == "array" or len(texts) > 1:
        if len(texts) == 1 and isinstance(listed := parse_text(texts[0], {}), list):
            return listed
        inner = schema.get("items")
        return [
            parse_text(text, resolve_schema(inner, whole) if isinstance(inner, dict) else {})
            for text in texts
        ]
    return parse_text(texts[0], schema)


def parse_text(text: str, schema: dict[str, Any]) -> Any:
    """Return JSON decoded, else the text itself; always the text where the model takes one."""
    if schema.get("type") == "string" or text in schema.get("enum", ()):
        return text
    try:
        return msgspec.json.decode(text.strip())
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return text
