"""The check of the JSON Schema that a model declares for its features: done once, for all readers."""

from collections.abc import Callable
from typing import Any

JSON_TYPES = {"array", "boolean", "integer", "null", "number", "object", "string"}


class SchemaError(ValueError):
    """An invalid JSON Schema; the text names the place."""


def normalize_schema(schema: Any, place: str = "it") -> dict[str, Any]:
    """Return the schema with each `true` and `false` inside it in long form; raises `SchemaError`."""
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    if not isinstance(schema, dict):
        raise SchemaError(f"{place} has to be an object")
    found = dict(schema)
    for word, (fits, wanted) in KEYWORD_RULES.items():
        if word in found and not fits(found[word]):
            raise SchemaError(f"{place}: {word} has to be {wanted}")
    for word in ("properties", "$defs"):
        if word in found:
            found[word] = {
                name: normalize_schema(one, f"{place}: {name}") for name, one in found[word].items()
            }
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if word in found:
            found[word] = [
                normalize_schema(one, f"{place}: {word}[{at}]") for at, one in enumerate(found[word])
            ]
    if "items" in found:
        found["items"] = normalize_schema(found["items"], f"{place}: items")
    for word in ("additionalProperties", "not"):
        if word in found and not isinstance(found[word], bool):
            found[word] = normalize_schema(found[word], f"{place}: {word}")
    return found


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_list(value: Any) -> bool:
    return isinstance(value, list)


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def is_type(value: Any) -> bool:
    words = value if isinstance(value, list) else [value]
    return all(isinstance(word, str) and word in JSON_TYPES for word in words)


# the keywords of a schema that the gateway, the form and the documentation read
KEYWORD_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (is_type, "one or several of " + ", ".join(sorted(JSON_TYPES))),
    "required": (is_list_of_texts, "a list of names"),
    **dict.fromkeys(("properties", "$defs"), (is_object, "an object")),
    **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems", "enum", "examples"), (is_list, "a list")),
    **dict.fromkeys(("title", "description", "format", "pattern", "$ref"), (is_text, "a text")),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (is_number, "a number")),
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength"), (is_count, "a whole number")),
}
