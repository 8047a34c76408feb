"""Bootstrap intervals: rows are drawn in clusters, such as calls, as those of one resemble each other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

DRAWS = 2000
LEVEL = 0.95
MAX_UNDEFINED = 0.05  # share of draws in which a metric may be undefined, as R2 of equal values
CHUNK_WEIGHTS = 2_000_000  # of clusters at once, which bounds memory

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# weights (a row for each draw, a column for each cluster) → a row for each draw, a column for each metric
WeightedMetrics = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Interval:
    """The 95 % interval of each metric; NaN where it has none."""

    low: Floats
    high: Floats

    def widen(self, other: "Interval") -> "Interval":
        """Return the interval that contains both."""
        return Interval(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


def number_clusters(names: Sequence[object]) -> tuple[Ints, int]:
    """Return the number of each row's cluster, and how many there are."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64), len(numbers)


def bootstrap(measure: WeightedMetrics, clusters: int, seed: int) -> Interval:
    """Return the interval of each metric over draws of clusters.

    It is the expanded percentile interval: with few clusters a percentile interval is too narrow, as a normal
    one is where Student's is needed.
    """
    found = np.concatenate([measure(weights) for weights in draw_weights(clusters, seed)])
    degrees = clusters - 1
    tail = stats.norm.cdf(np.sqrt(clusters / degrees) * stats.t.ppf((1 - LEVEL) / 2, degrees))
    is_defined = np.isfinite(found)
    few = is_defined.mean(axis=0) < 1 - MAX_UNDEFINED
    low, high = np.full(found.shape[1], np.nan), np.full(found.shape[1], np.nan)
    for metric in np.flatnonzero(~few):
        values = found[is_defined[:, metric], metric]
        low[metric], high[metric] = np.quantile(values, [tail, 1 - tail])
    return Interval(low, high)


def draw_weights(clusters: int, seed: int) -> Iterator[Floats]:
    """Yield how often each cluster is in each draw, some draws at a time."""
    random = np.random.default_rng(seed)
    size = max(1, min(DRAWS, CHUNK_WEIGHTS // clusters))
    for begin in range(0, DRAWS, size):
        count = min(size, DRAWS - begin)
        picked = random.integers(0, clusters, size=(count, clusters))
        picked += np.arange(count)[:, None] * clusters
        yield np.bincount(picked.ravel(), minlength=count * clusters).reshape(count, clusters).astype(float)
