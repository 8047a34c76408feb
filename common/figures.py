"""Numbers for people, and the relative change between two."""

import math
from typing import Any


def relative_change(value: float, before: float | None) -> float | None:
    """Return the change as a share of `before`: 0.05 is 5 % more; None where there is none, or it was 0."""
    return (value - before) / abs(before) if before else None


def format_change(change: float) -> str:
    """Return a relative change in percent: "+5.0%"."""
    return f"{100 * change:+.1f}%"


def format_metric(value: float) -> str:
    """Return a number with three decimals, or with as many digits as a small number needs."""
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.3g}"


def format_number(value: Any) -> str:
    """Return a number with six significant digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return group_thousands(value)
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e15 else group_thousands(value, ".6g")


def format_short(value: Any) -> str:
    """Return a number with four significant digits, without decimals when it is large."""
    if isinstance(value, float) and math.isfinite(value):
        return group_thousands(value, ".0f") if abs(value) >= 1000 else f"{value:.4g}"
    return format_number(value)


def group_thousands(value: float, form: str = "") -> str:
    """Return a number with thousands separators from 10,000 on: 1984 may be a year."""
    return f"{value:{form}}" if abs(value) < 10_000 else f"{value:,{form}}"
