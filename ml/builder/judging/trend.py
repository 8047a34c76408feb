"""The trend of a metric over recently live releases, since many small losses add up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml.metric_names import Direction

Past = Sequence[
    tuple[int, Mapping[str, float]]
]  # releases with their metrics on the same test data, newest first


@dataclass(frozen=True)
class Trend:
    """The course of one metric over the last releases that were live."""

    metric: str
    releases: int
    first: float  # of the oldest of them
    first_release: int
    best: float
    best_release: int


def compute_trend(metric: str, better: Direction, past: Past) -> Trend | None:
    """Return the oldest and the best of `past`; None where none has the metric."""
    values = [(metrics[metric], release) for release, metrics in past if metric in metrics]
    if not values:
        return None
    best, best_release = min(values) if better == "lower" else max(values)
    first, first_release = values[-1]
    return Trend(metric, len(values), first, first_release, best, best_release)
