"""What is counted while predictions are answered: plain numbers, cheap enough for the hot path."""

import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.5)
SECONDS = (*(round(step * 10**power, 6) for power in (-3, -2, -1, 0) for step in STEPS), 10.0, 30.0, 60.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class Histogram:
    """How many values are at most each of `bounds`, above the one before; the last count has no bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds, self.sum = bounds, 0.0
        self.counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Hour:
    """Latencies of the last hour, in slots of a minute, and how many requests of each failed.

    Moments are of the monotonic clock.
    """

    MINUTES = 60

    def __init__(self, since: float) -> None:
        self._slots = [(-1, [0] * (len(SECONDS) + 2))] * self.MINUTES  # the last count: those that failed
        self._since = since

    def add(self, seconds: float, now: float, failed: bool) -> None:
        minute = int(now // 60)
        stamp, counts = self._slots[minute % self.MINUTES]
        if stamp != minute:
            counts = [0] * (len(SECONDS) + 2)
            self._slots[minute % self.MINUTES] = minute, counts
        counts[bisect_left(SECONDS, seconds)] += 1
        counts[-1] += failed

    def summary(self, now: float) -> dict[str, float | None]:
        """Requests, those a second and those that failed, and two quantiles in seconds: None without one."""
        oldest = int(now // 60) - self.MINUTES
        sums = [sum(of) for of in zip(*(c for stamp, c in self._slots if stamp > oldest), strict=True)]
        counts, failed = sums[:-1], sum(sums[-1:])
        total = sum(counts)
        lasted = min(3600.0, max(1.0, now - self._since))
        p50, p99 = (quantile(counts, share) if total else None for share in (0.5, 0.99))
        return {"count": total, "per_second": total / lasted, "failed": failed, "p50": p50, "p99": p99}


def quantile(counts: Sequence[int], share: float) -> float:
    """The latency that this share of requests does not exceed, straight between two bounds."""
    wanted, sums = share * sum(counts), list(accumulate(counts))
    slot = bisect_left(sums, wanted)
    if slot >= len(SECONDS):
        return SECONDS[-1]
    low = SECONDS[slot - 1] if slot else 0.0
    below = sums[slot - 1] if slot else 0
    return low + (SECONDS[slot] - low) * (wanted - below) / counts[slot]


class Calls:
    """Requests for predictions by model, kind of call and status."""

    def __init__(self) -> None:
        self.answered: dict[tuple[str, str, int], int] = {}
        self.latency: dict[tuple[str, str], Histogram] = {}
        self.hours: dict[str, Hour] = {}

    def add(self, model: str, call: str, status: int, began: float) -> None:
        """One more, that came in at `began` of the monotonic clock."""
        now = time.monotonic()
        key = (model, call, status)
        self.answered[key] = self.answered.get(key, 0) + 1
        if (latency := self.latency.get((model, call))) is None:
            latency = self.latency[model, call] = Histogram(SECONDS)
        latency.add(now - began)
        if (hour := self.hours.get(model)) is None:
            hour = self.hours[model] = Hour(began)
        hour.add(now - began, now, status >= 500)


class Work:
    """What the workers of a model did, whichever release they held."""

    def __init__(self) -> None:
        self.frames = Histogram(ROWS)  # rows that left together
        self.restarts = 0
