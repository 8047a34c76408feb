"""Counters of predictions: plain numbers, cheap enough for the hot path."""

import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

BUCKET_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.5)
# A migration that changes these empties the table `traffic`, whose rows count by them.
LATENCY_BOUNDS_SECONDS = (
    *(round(step * 10**power, 6) for power in (-3, -2, -1, 0) for step in BUCKET_STEPS),
    10.0,
    30.0,
    60.0,
)
BATCH_ROW_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class Histogram:
    """A count of values for each of `bounds`: at most it, and above the one before; the last is unbounded."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.sum = bounds, 0.0
        self.counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


def estimate_quantile(counts: Sequence[int], share: float) -> float:
    """Return the latency that this share of requests does not exceed, interpolated between two bounds."""
    wanted, sums = share * sum(counts), list(accumulate(counts))
    slot = bisect_left(sums, wanted)
    if slot >= len(LATENCY_BOUNDS_SECONDS):
        return LATENCY_BOUNDS_SECONDS[-1]
    low = LATENCY_BOUNDS_SECONDS[slot - 1] if slot else 0.0
    below = sums[slot - 1] if slot else 0
    return low + (LATENCY_BOUNDS_SECONDS[slot] - low) * (wanted - below) / counts[slot]


class RequestStats:
    """Counts of prediction requests by model, kind of call and status."""

    def __init__(self) -> None:
        self.answered: dict[tuple[str, str, int], int] = {}
        self.latency: dict[tuple[str, str], Histogram] = {}
        self.early: dict[str, int] = {}  # by model: requests before it had a live release, answered by 503

    def add(self, model: str, call: str, status: int, started: float) -> None:
        """Count one more request, which arrived at `started` on the monotonic clock."""
        key = (model, call, status)
        self.answered[key] = self.answered.get(key, 0) + 1
        if (latency := self.latency.get((model, call))) is None:
            latency = self.latency[model, call] = Histogram(LATENCY_BOUNDS_SECONDS)
        latency.add(time.monotonic() - started)


class WorkerStats:
    """Counts of a model's workers, across its releases."""

    def __init__(self) -> None:
        self.frames = Histogram(BATCH_ROW_BOUNDS)  # rows that left together
        self.restarts = 0
