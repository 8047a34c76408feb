"""Named values (a row of a table, tensors side by side) made into the features that the model takes."""

import msgspec

from ml.model import shape
from ml.model.shape import LIST, VALUE
from ml.serving.live import Live


def kind(live: Live) -> str:
    """What a row is for the model: one of the words in `ml/model/shape.py`."""
    return shape.shape(live.schema, list(live.example or ()), live.release.kind)


def row(names: list[str], values: list[bytes], wanted: str) -> bytes:
    """One row's features as JSON, of values that are JSON already."""
    if wanted == LIST:
        return b"[" + b",".join(values) + b"]"
    if wanted == VALUE and len(values) == 1:
        return values[0]
    keys = (msgspec.json.encode(name) for name in names)
    return b"{" + b",".join(key + b":" + value for key, value in zip(keys, values, strict=True)) + b"}"
