"""Tensors of the Open Inference Protocol V2, in JSON, made into rows, and predictions made into tensors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from common.problems import Problem
from ml.model.shape import resolved
from ml.serving import answers, fitting
from ml.serving.live import Live
from ml.serving.protocol import PredictionJson
from ml.serving.rows import MOST

RANK = 16  # dimensions of a tensor
TYPES: dict[str, set[type]] = {"BOOL": {bool}, "BYTES": {str}}
BOUNDS: dict[str, float] = {"FP16": 65504.0, "FP32": 3.4028236e38}
RANGES: dict[str, tuple[float, float]] = {name: (-most, most) for name, most in BOUNDS.items()}
for bits in (8, 16, 32, 64):
    RANGES[f"INT{bits}"] = (-(1 << bits - 1), (1 << bits - 1) - 1)
    RANGES[f"UINT{bits}"] = (0, (1 << bits) - 1)
    TYPES[f"INT{bits}"] = TYPES[f"UINT{bits}"] = {int}
for bits in (16, 32, 64):
    TYPES[f"FP{bits}"] = {int, float}
DATATYPES = {"integer": "INT64", "number": "FP64", "boolean": "BOOL", "string": "BYTES"}
JSON_TEXT = {"content_type": "application/json"}  # each element of BYTES is JSON of its own
BINARY = (
    "Tensors in binary are not taken: send JSON (tritonclient: set_data_from_numpy(…, binary_data=False))."
)


class Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True)
class Column:
    """A tensor that is read: one value for each row, and the shape of one."""

    name: str
    values: list[Any]
    shape: list[int]


def rows(inputs: list[Tensor], live: Live) -> list[bytes]:
    """The features of each row; raises `Problem` that names the tensor."""
    if not inputs:
        raise Problem(422, "There is no tensor", "inputs is empty: nothing is asked for.")
    columns = [read(tensor, f"inputs[{at}]") for at, tensor in enumerate(inputs)]
    if len({len(column.values) for column in columns}) > 1:
        said = ", ".join(f"{column.name}: {len(column.values)}" for column in columns)
        raise wrong("inputs", f"has tensors of several first dimensions: {said}")
    if len({column.name for column in columns}) < len(columns):
        raise wrong("inputs", "has two tensors of one name")
    kind = fitting.kind(live)
    if len(columns) == 1 and kind != "object":
        return [msgspec.json.encode(one) for one in plain(columns[0], squeeze=kind == "value")]
    schema = live.schema or {}
    properties = resolved(schema, schema).get("properties", {})
    named = [plain(column, squeeze=not listed(properties, column.name, schema)) for column in columns]
    names = [column.name for column in columns]
    return [
        fitting.row(names, [msgspec.json.encode(one) for one in values], kind)
        for values in zip(*named, strict=True)
    ]


def listed(properties: dict[str, Any], name: str, root: dict[str, Any]) -> bool:
    return resolved(properties.get(name, {}), root).get("type") == "array"


def plain(column: Column, *, squeeze: bool) -> list[Any]:
    """Its rows; [n, 1] is a column of n single values where no lists are asked for."""
    return [value[0] for value in column.values] if squeeze and column.shape == [1] else column.values


def read(tensor: Tensor, place: str) -> Column:
    """Nothing of the size that `shape` claims is made before the data are there in that number."""
    if tensor.parameters and "binary_data_size" in tensor.parameters:
        raise Problem(415, "Tensors in binary", f"{place}: {BINARY}")
    if tensor.datatype not in TYPES:
        raise wrong(place, f"has the datatype {tensor.datatype!r}: there is {', '.join(sorted(TYPES))}")
    if not 1 <= len(tensor.shape) <= RANK or min(tensor.shape) < 1:
        raise wrong(place, f"has to have 1 to {RANK} dimensions, each at least 1")
    if tensor.shape[0] > MOST:
        detail = (
            f"{place} has {tensor.shape[0]} rows, and at most {MOST} are taken: send them in several calls."
        )
        raise Problem(413, "Too many rows", detail)
    if not isinstance(tensor.data, list):
        raise wrong(place, "has no data, or data that are no list")
    values = flat(tensor.data, len(tensor.shape), place)
    wanted = math.prod(tensor.shape)
    if len(values) != wanted:
        raise wrong(place, f"has {len(values)} values, and its shape {tensor.shape} asks for {wanted}")
    fits(values, tensor.datatype, place)
    if tensor.parameters and tensor.parameters.get("content_type") == JSON_TEXT["content_type"]:
        values = [decoded(value, place) for value in values]
    for size in reversed(tensor.shape[1:]):
        values = [values[at : at + size] for at in range(0, len(values), size)]
    return Column(tensor.name, values, tensor.shape[1:])


def flat(data: list[Any], rank: int, place: str) -> list[Any]:
    """Data come flat, or nested as their shape is."""
    for _ in range(rank):
        types = set(map(type, data))
        if list not in types:
            return data
        if len(types) > 1:
            break
        data = list(chain.from_iterable(data))
    if list in set(map(type, data)):
        raise wrong(place, "has data that are nested in another way than its shape says")
    return data


def fits(values: list[Any], datatype: str, place: str) -> None:
    if not set(map(type, values)) <= TYPES[datatype]:
        at = next(at for at, value in enumerate(values) if type(value) not in TYPES[datatype])
        raise wrong(f"{place}.data[{at}]", f"is no {datatype}")
    if datatype in RANGES:
        low, high = RANGES[datatype]
        if min(values) < low or max(values) > high:
            at = next(at for at, value in enumerate(values) if not low <= value <= high)
            raise wrong(f"{place}.data[{at}]", f"is out of the range of {datatype}")


def decoded(value: Any, place: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise wrong(place, f"has a content_type of JSON, and a value that is none: {error}") from error


def wrong(place: str, what: str) -> Problem:
    return Problem(422, "The tensors do not fit", f"{place} {what}.")


def outputs(predictions: list[PredictionJson]) -> list[dict[str, Any]]:
    """Objects of the same members are a tensor a member, all else is the tensor `prediction`."""
    values = answers.values(predictions)
    first = values[0]
    if (
        isinstance(first, dict)
        and first
        and all(isinstance(one, dict) and one.keys() == first.keys() for one in values)
    ):
        return [written(name, [one[name] for one in values]) for name in first]
    return [written("prediction", values)]


def written(name: str, values: list[Any]) -> dict[str, Any]:
    """A tensor of numbers, booleans or texts; what is none of that comes as JSON texts."""
    shape, data = [len(values)], values
    while len(shape) < RANK and all(isinstance(one, list) and len(one) == len(data[0]) for one in data):
        if not data[0]:
            break
        shape.append(len(data[0]))
        data = list(chain.from_iterable(data))
    datatype = of_values(data)
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


def of_values(data: Sequence[Any]) -> str | None:
    types = set(map(type, data))
    if types == {int}:
        low, high = RANGES["INT64"]
        return "INT64" if low <= min(data) and max(data) <= high else None
    if types <= {int, float}:
        return "FP64"
    return {bool: "BOOL", str: "BYTES"}.get(types.pop()) if len(types) == 1 else None


def metadata(live: Live) -> list[dict[str, Any]]:
    """The tensors that the model takes, from its schema, else from its example."""
    root = live.schema if live.schema is not None else like(live.example[0]) if live.example else {}
    if live.schema is None and not live.example and live.release.kind == "time-series":
        root = {"type": "integer"}  # the number of days
    whole = resolved(root, root)
    if properties := whole.get("properties"):
        return [described(name, one, root) for name, one in properties.items()]
    return [described("features", root, root)]


def described(name: str, schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    shape, inner = [-1], resolved(schema, root)
    while inner.get("type") == "array" and len(shape) < RANK:
        low, high = inner.get("minItems"), inner.get("maxItems")
        shape.append(low if low and low == high else -1)
        inner = resolved(inner.get("items") or {}, root)
    word = inner.get("type")
    datatype = DATATYPES.get(word) if isinstance(word, str) else None
    if datatype is None:
        return {"name": name, "datatype": "BYTES", "shape": [-1], "parameters": JSON_TEXT}
    return {"name": name, "datatype": datatype, "shape": shape}


def like(example: Any) -> dict[str, Any]:
    """The least schema that an example has."""
    if isinstance(example, dict):
        return {"type": "object", "properties": {name: like(one) for name, one in example.items()}}
    if isinstance(example, list):
        kinds = [like(one) for one in example]
        if kinds and all(one.get("type") in ("integer", "number") for one in kinds):
            kinds = [{"type": "number"}]
        items = kinds[0] if kinds and all(one == kinds[0] for one in kinds) else {}
        return {"type": "array", "items": items, "minItems": len(example), "maxItems": len(example)}
    words: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return {"type": words[type(example)]} if type(example) in words else {}
