"""The rules of `[record] fields`: what is dropped or hashed before anything is written."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from ml.record_section import FieldRule

HASH_PREFIX = "hmac:"
HASH_CHARS = 32


def hash_value(key: bytes, model: str, field: str, value: Any) -> str:
    """Return a field's value as a text that only the key's owner can compare with others."""
    canonical = json.dumps([model, field, normalize(value)], sort_keys=True)
    return HASH_PREFIX + hmac.new(key, canonical.encode(), hashlib.sha256).hexdigest()[:HASH_CHARS]


def normalize(value: Any) -> Any:
    """Return the value with 1.0 written as 1: it is the same number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def apply_rules(value: Any, rules: Mapping[str, FieldRule], key: bytes, model: str) -> Any:
    """Return a JSON value without the fields to drop, and with hashes of those to hash, at any depth.

    The value itself is returned where it has none of them, so that `is` tells whether it is whole.
    """
    if isinstance(value, list):
        items = [apply_rules(one, rules, key, model) for one in value]
        return value if all(map(is_same, items, value)) else items
    if not isinstance(value, dict):
        return value
    changed: dict[str, Any] = {}
    for name, one in value.items():
        rule = rules.get(name, "keep")
        if rule == "drop":
            continue
        hidden = rule == "hash"
        changed[name] = hash_value(key, model, name, one) if hidden else apply_rules(one, rules, key, model)
    is_unchanged = len(changed) == len(value) and all(map(is_same, changed.values(), value.values()))
    return value if is_unchanged else changed


def is_same(one: Any, other: Any) -> bool:
    return one is other


def has_named_fields(features: Any) -> bool:
    """Return whether the fields of features have names; without, no rule can find the one that it is for."""
    return isinstance(features, dict)
