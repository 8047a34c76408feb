"""The difference between two predictions for the same features, and a prediction as a text for a table."""

import json
import math
from typing import Any

from ml.manifest import TOLERANCE

MAX_SHOWN_CHARS = 2000  # characters of a value that is rendered
MAX_DEPTH = 50  # nested lists that are compared
ABSOLUTE_TOLERANCE = 1e-12  # two numbers closer than that are equal, however small they are


def compute_delta(before: Any, after: Any, tolerance: float = TOLERANCE, depth: int = 0) -> float:
    """Return 0 where both are equal, the largest change of a number, or NaN where they differ otherwise."""
    if depth > MAX_DEPTH:
        return math.nan
    if is_number(before) and is_number(after):
        return compute_number_delta(before, after, tolerance)
    pairs: list[tuple[Any, Any]]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = list(zip(before, after, strict=True))
    elif isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        pairs = [(before[name], after[name]) for name in before]
    else:
        return 0.0 if before == after and type(before) is type(after) else math.nan
    gaps = [compute_delta(one, other, tolerance, depth + 1) for one, other in pairs]
    return math.nan if any(map(math.isnan, gaps)) else max(gaps, default=0.0)


def compute_number_delta(before: float, after: float, tolerance: float) -> float:
    """Return the change; NaN where a float cannot hold it, since Python's integers are unbounded."""
    try:
        if math.isnan(before) and math.isnan(after):
            return 0.0
        is_same = math.isclose(before, after, rel_tol=tolerance, abs_tol=ABSOLUTE_TOLERANCE)
        gap = 0.0 if is_same else float(abs(after - before))
    except OverflowError:
        return 0.0 if before == after else math.nan
    return gap if math.isfinite(gap) else math.nan


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def format_value(value: Any) -> str:
    """Return a prediction or an error as JSON that fits a table."""
    if isinstance(value, dict) and len(value) == 1 and "prediction" in value:
        value = value["prediction"]
    text = json.dumps(value, ensure_ascii=False)
    text = text.encode("utf-8", "replace").decode()  # replaces lone surrogates
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"
