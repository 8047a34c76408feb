"""How much a model may say of itself: what is more is left out of info(), and refused of evaluate()."""

from __future__ import annotations

import json
from typing import Any

from .jsonable import DEEPEST, is_deeper

MAX_INFO_BYTES = 64 << 10  # as JSON
MAX_METRICS = 200
MAX_NAME = 100  # characters of a metric's name
LEFT_OUT = "(left out)"
ROOM_FOR_NOTE = 1 << 10


def fit_info(info: dict[str, Any]) -> dict[str, Any]:
    """The members that are not too large, in their order, and a note of those that are left out."""
    kept, left, size = {}, [], 0
    for name, value in info.items():
        too_deep = is_deeper(value, DEEPEST)
        more = 0 if too_deep else len(json.dumps({name: value}))
        if too_deep or size + more > MAX_INFO_BYTES - ROOM_FOR_NOTE:
            left.append(name)
            continue
        kept[name] = value
        size += more
    if left:
        names = ", ".join(name[:40] for name in left[:5]) + (", …" if len(left) > 5 else "")
        kept[LEFT_OUT] = f"{names}: what info() gives may have {MAX_INFO_BYTES:,} bytes as JSON"
    return kept


def wrong_metrics(metrics: dict[str, Any]) -> str | None:
    """Why these cannot be taken, in words for their author."""
    if len(metrics) > MAX_METRICS:
        return f"evaluate() gave {len(metrics):,} metrics, and at most {MAX_METRICS} are taken: return fewer"
    for name in metrics:
        if len(name) > MAX_NAME:
            return f"evaluate() gave a metric whose name is longer than {MAX_NAME} characters: {name[:40]!a}…"
        if not name.isprintable():
            return f"evaluate() gave a metric whose name cannot be printed: {name!a}"
    return None
