"""Conversion between rows and JSON tensors of the Open Inference Protocol V2."""

import math
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from common.problems import ProblemError
from ml.model_host.feature_kind import resolve_schema
from ml.serving.predict import features
from ml.serving.predict.batch import MAX_ROWS
from ml.serving.registry import LiveRelease

MAX_RANK = 16  # dimensions of a tensor
PYTHON_TYPES: dict[str, set[type]] = {"BOOL": {bool}, "BYTES": {str}}
FLOAT_LIMITS: dict[str, float] = {"FP16": 65504.0, "FP32": 3.4028236e38}
VALUE_RANGES: dict[str, tuple[float, float]] = {name: (-most, most) for name, most in FLOAT_LIMITS.items()}
for bits in (8, 16, 32, 64):
    VALUE_RANGES[f"INT{bits}"] = (-(1 << bits - 1), (1 << bits - 1) - 1)
    VALUE_RANGES[f"UINT{bits}"] = (0, (1 << bits) - 1)
    PYTHON_TYPES[f"INT{bits}"] = PYTHON_TYPES[f"UINT{bits}"] = {int}
for bits in (16, 32, 64):
    PYTHON_TYPES[f"FP{bits}"] = {int, float}
DATATYPES = {"integer": "INT64", "number": "FP64", "boolean": "BOOL", "string": "BYTES"}
JSON_TEXT = {"content_type": "application/json"}  # each element of BYTES is JSON of its own
BINARY_HINT = (
    "Tensors in binary are not taken: send JSON (tritonclient: set_data_from_numpy(…, binary_data=False))."
)


class Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True)
class TensorColumn:
    """A parsed tensor: one value for each row, and the shape of one value."""

    name: str
    values: list[Any]
    shape: list[int]


def encode_rows(inputs: list[Tensor], live: LiveRelease) -> list[bytes]:
    """Return the features of each row; raises `ProblemError` that names the tensor."""
    if not inputs:
        raise ProblemError(422, "There is no tensor", "inputs is empty: send at least one tensor.")
    columns = [read_tensor(tensor, f"inputs[{at}]") for at, tensor in enumerate(inputs)]
    if len({len(column.values) for column in columns}) > 1:
        sizes = ", ".join(f"{column.name}: {len(column.values)}" for column in columns)
        raise tensor_problem("inputs", f"has tensors of several first dimensions: {sizes}")
    if len({column.name for column in columns}) < len(columns):
        raise tensor_problem("inputs", "has two tensors of one name")
    kind = features.get_feature_kind(live)
    if len(columns) == 1 and kind != "object":
        return [msgspec.json.encode(one) for one in unwrap_rows(columns[0], squeeze=kind == "value")]
    schema = live.schema or {}
    properties = resolve_schema(schema, schema).get("properties", {})
    named = [
        unwrap_rows(column, squeeze=not is_list_field(properties, column.name, schema)) for column in columns
    ]
    names = [column.name for column in columns]
    return [
        features.encode_row(names, [msgspec.json.encode(one) for one in values], kind)
        for values in zip(*named, strict=True)
    ]


def is_list_field(properties: dict[str, Any], name: str, root: dict[str, Any]) -> bool:
    return resolve_schema(properties.get(name, {}), root).get("type") == "array"


def unwrap_rows(column: TensorColumn, *, squeeze: bool) -> list[Any]:
    """Return the column's rows; with `squeeze`, [n, 1] is a column of n single values."""
    return [value[0] for value in column.values] if squeeze and column.shape == [1] else column.values


def read_tensor(tensor: Tensor, place: str) -> TensorColumn:
    """Parse a tensor; memory of the claimed `shape` is only allocated once the data have that size.

    Raises `ProblemError` when it is invalid.
    """
    if tensor.parameters and "binary_data_size" in tensor.parameters:
        raise ProblemError(415, "Tensors in binary", f"{place}: {BINARY_HINT}")
    if tensor.datatype not in PYTHON_TYPES:
        raise tensor_problem(
            place, f"has the datatype {tensor.datatype!r}: there is {', '.join(sorted(PYTHON_TYPES))}"
        )
    if not 1 <= len(tensor.shape) <= MAX_RANK or min(tensor.shape) < 1:
        raise tensor_problem(place, f"has to have 1 to {MAX_RANK} dimensions, each at least 1")
    if tensor.shape[0] > MAX_ROWS:
        detail = (
            f"{place} has {tensor.shape[0]} rows, and at most {MAX_ROWS} "
            "are taken: send them in several calls."
        )
        raise ProblemError(413, "Too many rows", detail)
    if not isinstance(tensor.data, list):
        raise tensor_problem(place, "has no data, or data that are no list")
    values = flatten_data(tensor.data, len(tensor.shape), place)
    wanted = math.prod(tensor.shape)
    if len(values) != wanted:
        raise tensor_problem(
            place, f"has {len(values)} values, and its shape {tensor.shape} asks for {wanted}"
        )
    check_values(values, tensor.datatype, place)
    if tensor.parameters and tensor.parameters.get("content_type") == JSON_TEXT["content_type"]:
        values = [decode_element(value, place) for value in values]
    for size in reversed(tensor.shape[1:]):
        values = [values[at : at + size] for at in range(0, len(values), size)]
    return TensorColumn(tensor.name, values, tensor.shape[1:])


def flatten_data(data: list[Any], rank: int, place: str) -> list[Any]:
    """Return the data flat; they may be nested like their shape."""
    for _ in range(rank):
        types = set(map(type, data))
        if list not in types:
            return data
        if len(types) > 1:
            break
        data = list(chain.from_iterable(data))
    if list in set(map(type, data)):
        raise tensor_problem(place, "has data whose nesting differs from its shape")
    return data


def check_values(values: list[Any], datatype: str, place: str) -> None:
    """Raise `ProblemError` at a value that is none of the datatype; null is for the model to judge."""
    types = set(map(type, values))
    if not types - {type(None)} <= PYTHON_TYPES[datatype]:
        strange = types - PYTHON_TYPES[datatype] - {type(None)}
        at = next(at for at, value in enumerate(values) if type(value) in strange)
        raise tensor_problem(f"{place}.data[{at}]", f"is no {datatype}")
    numbers = [value for value in values if value is not None] if type(None) in types else values
    if datatype in VALUE_RANGES and numbers:
        low, high = VALUE_RANGES[datatype]
        if min(numbers) < low or max(numbers) > high:
            outside = next(value for value in numbers if not low <= value <= high)
            raise tensor_problem(
                f"{place}.data[{values.index(outside)}]", f"is out of the range of {datatype}"
            )


def decode_element(value: Any, place: str) -> Any:
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise tensor_problem(
            place, f"has a content_type of JSON, and a value that is none: {error}"
        ) from error


def tensor_problem(place: str, what: str) -> ProblemError:
    return ProblemError(422, "The tensors do not fit", f"{place} {what}.")
