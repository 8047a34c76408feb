"""How a metric went over the releases that were live lately: many small steps down are a long way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml.stages.metric_names import Better

Past = Sequence[
    tuple[int, Mapping[str, float]]
]  # releases with their metrics on the same test data, newest first


@dataclass(frozen=True)
class Trend:
    """One metric over the last releases that were live."""

    metric: str
    releases: int
    first: float  # of the oldest of them
    first_release: int
    best: float
    best_release: int


def trend(metric: str, better: Better, past: Past) -> Trend | None:
    """Return the oldest and the best of `past`; None where none has the metric."""
    known = [(metrics[metric], release) for release, metrics in past if metric in metrics]
    if not known:
        return None
    best, best_release = min(known) if better == "lower" else max(known)
    first, first_release = known[-1]
    return Trend(metric, len(known), first, first_release, best, best_release)
