"""How large a change is, as one number: 1 is the threshold of the statistic."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

MAX_STRENGTH = 100.0
STATISTICS = {
    "kolmogorov_smirnov": "Kolmogorov-Smirnov distance",
    "wasserstein": "Wasserstein distance",
    "jensen_shannon": "Jensen-Shannon distance",
    "chi_squared": "chi-squared distance",
    "missing": "missing values",
    "unseen": "unseen values",
}


def measure_strength(comparison: Mapping[str, Any]) -> float:
    """Return a statistic's change in units of the change that is its threshold; at most `MAX_STRENGTH`."""
    value, threshold, before = (to_number(comparison.get(name)) for name in ("value", "threshold", "before"))
    least = abs(threshold - before)
    return min(abs(value - before) / least, MAX_STRENGTH) if least else 0.0


def find_strongest(comparisons: Iterable[Mapping[str, Any]]) -> float:
    """Return the largest change of a column; 0 where nothing was compared."""
    return max(map(measure_strength, comparisons), default=0.0)


def to_number(value: Any) -> float:
    """Return a stored number that a page can draw: 0 for what is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else 0.0
