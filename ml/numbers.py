"""Numbers that a model wrote as JSON."""

import math
from typing import Any


def is_finite(value: Any) -> bool:
    """Whether it is a number that a float holds; JSON's whole numbers have no end."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
