"""Hints for bodies of other servers' clients that are sent to /predict, which takes one row."""

from typing import Any

BATCH_FORMS = ("instances", "inputs", "dataframe_split", "dataframe_records")
WRAPPER_KEYS = ("features", "input_data", "data", "input", "row")


def suggest_endpoint(body: Any) -> str:
    """Return the sentence that names the endpoint for a body that does not fit; empty for an unknown form."""
    if isinstance(body, list):
        return 'One row is sent here: send many to /invocations, as {"instances": [...]}.'
    if not isinstance(body, dict):
        return ""
    if has_tensors(body):
        return "A body of tensors is sent to /v2/models/NAME/infer."
    if is_seldon_body(body):
        return 'Send {"dataframe_split": {"columns": names, "data": ndarray}} to /invocations.'
    if form := next((name for name in BATCH_FORMS if name in body), None):
        return f'A body with "{form}" is sent to /invocations.'
    wrapping = next((name for name in WRAPPER_KEYS if body.keys() == {name}), None)
    return f'Send the row itself, without "{wrapping}" around it.' if wrapping else ""


def has_tensors(body: dict[str, Any]) -> bool:
    inputs = body.get("inputs")
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    return isinstance(first, dict) and "datatype" in first


def is_seldon_body(body: dict[str, Any]) -> bool:
    data = body.get("data")
    return isinstance(data, dict) and bool({"ndarray", "tensor"} & data.keys())
