"""Conversion of named values (a row of a table, several tensors) into the features that the model takes."""

import msgspec

from ml.model_host import feature_kind
from ml.model_host.feature_kind import LIST, VALUE
from ml.serving.registry import LiveRelease


def get_feature_kind(live: LiveRelease) -> str:
    """Return the form of a row for the model: one of the kinds in `ml/model_host/feature_kind.py`."""
    return feature_kind.infer_kind(live.schema, list(live.example or ()), live.release.kind)


def encode_row(names: list[str], values: list[bytes], kind: str) -> bytes:
    """Return one row's features as JSON, from values that are JSON already."""
    if kind == LIST:
        return b"[" + b",".join(values) + b"]"
    if kind == VALUE and len(values) == 1:
        return values[0]
    keys = (msgspec.json.encode(name) for name in names)
    return b"{" + b",".join(key + b":" + value for key, value in zip(keys, values, strict=True)) + b"}"
