"""The tensors that predictions become."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec

from ml.serving.predict.tensors import JSON_TEXT, MAX_RANK, VALUE_RANGES
from ml.serving.workers import responses
from ml.serving.workers.wire import PredictionJson


def to_outputs(predictions: list[PredictionJson]) -> list[dict[str, Any]]:
    """Return a tensor for each member of objects with the same members, else the tensor `prediction`."""
    values = responses.decode_predictions(predictions)
    first = values[0]
    if (
        isinstance(first, dict)
        and first
        and all(isinstance(one, dict) and one.keys() == first.keys() for one in values)
    ):
        return [to_tensor(name, [one[name] for one in values]) for name in first]
    return [to_tensor("prediction", values)]


def to_tensor(name: str, values: list[Any]) -> dict[str, Any]:
    """Return a tensor of numbers, booleans or texts; other values become JSON texts."""
    shape, data = [len(values)], values
    while len(shape) < MAX_RANK and all(isinstance(one, list) and len(one) == len(data[0]) for one in data):
        if not data[0]:
            break
        shape.append(len(data[0]))
        data = list(chain.from_iterable(data))
    datatype = find_datatype(data)
    if datatype is None:
        texts = [msgspec.json.encode(value).decode() for value in values]
        return {
            "name": name,
            "datatype": "BYTES",
            "shape": [len(values)],
            "parameters": JSON_TEXT,
            "data": texts,
        }
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def find_datatype(data: Sequence[Any]) -> str | None:
    types = set(map(type, data))
    if types == {int}:
        low, high = VALUE_RANGES["INT64"]
        return "INT64" if low <= min(data) and max(data) <= high else None
    if types <= {int, float}:
        return "FP64"
    return {bool: "BOOL", str: "BYTES"}.get(types.pop()) if len(types) == 1 else None
