"""The tensors that a model takes, described for clients."""

from typing import Any

from ml.model_host.feature_kind import resolve_schema
from ml.serving.predict.tensors import DATATYPES, JSON_TEXT, MAX_RANK
from ml.serving.registry import LiveRelease


def describe_inputs(live: LiveRelease) -> list[dict[str, Any]]:
    """Return the tensors that the model takes, from its schema, else from its example."""
    root = live.schema if live.schema is not None else infer_schema(live.example[0]) if live.example else {}
    if live.schema is None and not live.example and live.release.kind == "time-series":
        root = {"type": "integer"}  # the number of days
    whole = resolve_schema(root, root)
    if properties := whole.get("properties"):
        return [describe_tensor(name, one, root) for name, one in properties.items()]
    return [describe_tensor("features", root, root)]


def describe_tensor(name: str, schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    shape, inner = [-1], resolve_schema(schema, root)
    while inner.get("type") == "array" and len(shape) < MAX_RANK:
        low, high = inner.get("minItems"), inner.get("maxItems")
        shape.append(low if low and low == high else -1)
        inner = resolve_schema(inner.get("items") or {}, root)
    word = inner.get("type")
    datatype = DATATYPES.get(word) if isinstance(word, str) else None
    if datatype is None:
        return {"name": name, "datatype": "BYTES", "shape": [-1], "parameters": JSON_TEXT}
    return {"name": name, "datatype": datatype, "shape": shape}


def infer_schema(example: Any) -> dict[str, Any]:
    """Return the smallest schema that fits an example."""
    if isinstance(example, dict):
        return {"type": "object", "properties": {name: infer_schema(one) for name, one in example.items()}}
    if isinstance(example, list):
        kinds = [infer_schema(one) for one in example]
        if kinds and all(one.get("type") in ("integer", "number") for one in kinds):
            kinds = [{"type": "number"}]
        items = kinds[0] if kinds and all(one == kinds[0] for one in kinds) else {}
        return {"type": "array", "items": items, "minItems": len(example), "maxItems": len(example)}
    words: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return {"type": words[type(example)]} if type(example) in words else {}
