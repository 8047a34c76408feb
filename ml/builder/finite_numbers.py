"""Checks of numbers that a model wrote as JSON."""

import math
from typing import Any


def is_finite(value: Any) -> bool:
    """Return True for a number that a float can hold; integers in JSON are unbounded."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
