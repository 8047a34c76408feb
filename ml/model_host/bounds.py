"""Limits on a model's own texts: what exceeds them is left out of info(), and refused from evaluate()."""

from __future__ import annotations

import json
from typing import Any

from .to_json import MAX_DEPTH, is_deeper

MAX_INFO_BYTES = 64 << 10  # as JSON
MAX_METRICS = 200
MAX_NAME_CHARS = 100  # characters of a metric's name
LEFT_OUT = "(left out)"
NOTE_BYTES = 1 << 10


def fit_info(info: dict[str, Any]) -> dict[str, Any]:
    """Return the members that are not too large, in their order, and a note of those that are left out."""
    fitting, left, size = {}, [], 0
    for name, value in info.items():
        more = measure_json(name, value)
        if more is None or size + more > MAX_INFO_BYTES - NOTE_BYTES:
            left.append(name)
            continue
        fitting[name] = value
        size += more
    if left:
        names = ", ".join(name[:40] for name in left[:5]) + (", …" if len(left) > 5 else "")
        fitting[LEFT_OUT] = f"{names}: what info() gives may have {MAX_INFO_BYTES:,} bytes as JSON"
    return fitting


def measure_json(name: str, value: Any) -> int | None:
    """Return its bytes as JSON; None where it fails: too deep, or a number too long for Python to write."""
    if is_deeper(value, MAX_DEPTH):
        return None
    try:
        return len(json.dumps({name: value}))
    except ValueError:
        return None


def find_metrics_error(metrics: dict[str, Any]) -> str | None:
    """Return why these metrics cannot be accepted, worded for their author; None when they can."""
    if len(metrics) > MAX_METRICS:
        return f"evaluate() gave {len(metrics):,} metrics, and at most {MAX_METRICS} are taken: return fewer"
    for name in metrics:
        if len(name) > MAX_NAME_CHARS:
            return (
                "evaluate() gave a metric whose name is longer than "
                f"{MAX_NAME_CHARS} characters: {name[:40]!a}…"
            )
        if not name.isprintable():
            return f"evaluate() gave a metric whose name cannot be printed: {name!a}"
    return None
