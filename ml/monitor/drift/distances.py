"""How far two samples lie apart: exact distances of one window, and of many draws of the baseline at once."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon

from ml.monitor.drift.effective import Floats, Ints

CLIP_SCALES = 10.0  # from the median: what lies beyond counts as there, so that one outlier weighs little
NORMAL_IQR = 1.349  # of a normal distribution, in standard deviations
CHUNK_CELLS = 500_000  # numbers in memory at once


@dataclass(frozen=True)
class NumberReference:
    """The sorted numbers of a baseline, the unit and the bounds in which distances are measured."""

    sorted: Floats
    scale: float  # the standard deviation of the middle half, as if it were normal
    bounds: tuple[float, float]

    @classmethod
    def from_numbers(cls, numbers: Floats) -> "NumberReference":
        low, median, high = np.quantile(numbers, [0.25, 0.5, 0.75])
        scale = float((high - low) / NORMAL_IQR) or float(np.mean(np.abs(numbers - median))) or 1.0
        return cls(np.sort(numbers), scale, (median - CLIP_SCALES * scale, median + CLIP_SCALES * scale))

    def measure(self, numbers: Floats) -> tuple[float, float]:
        """Return the Kolmogorov-Smirnov and the Wasserstein distance of a sample, the latter in scales."""
        window, points = np.sort(numbers), np.sort(np.concatenate([self.sorted, numbers]), kind="stable")
        apart = np.abs(
            np.searchsorted(window, points, "right") / len(window)
            - np.searchsorted(self.sorted, points, "right") / len(self.sorted)
        )
        gaps = np.diff(np.clip(points, *self.bounds)) / self.scale
        return float(apart.max()), float((apart[:-1] * gaps).sum())

    def resample(self, rows: int, draws: int, random: np.random.Generator) -> tuple[Floats, Floats]:
        """Return both distances of `draws` samples of `rows` rows from the baseline itself."""
        points, place = np.unique(self.sorted, return_inverse=True)
        reference = np.cumsum(np.bincount(place)) / len(place)
        gaps = np.diff(np.clip(points, *self.bounds)) / self.scale
        chunk = max(1, CHUNK_CELLS // max(len(points), rows))
        found = []
        for begin in range(0, draws, chunk):
            size = min(chunk, draws - begin)
            drawn = place[random.integers(0, len(place), (size, rows))] + np.arange(size)[:, None] * len(
                points
            )
            counts = np.bincount(drawn.ravel(), minlength=size * len(points)).reshape(size, -1)
            apart = np.abs(np.cumsum(counts, axis=1) / rows - reference)
            found.append((apart.max(axis=1), np.einsum("ij,j->i", apart[:, :-1], gaps)))
        return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])


@dataclass(frozen=True)
class LabelReference:
    """The shares of labels in a baseline; rare ones are one."""

    shares: Floats

    @property
    def key(self) -> str:
        return hashlib.sha256(self.shares.tobytes()).hexdigest()[:16]

    def measure(self, counts: Ints) -> tuple[float, float]:
        """Return the Jensen-Shannon distance (0 to 1) and Pearson's chi-squared for each row of a sample."""
        rows = counts.sum()
        chi_squared = stats.chisquare(counts, self.shares * rows).statistic
        distance = np.nan_to_num(
            jensenshannon(counts / rows, self.shares, base=2)
        )  # a root below 0, by rounding
        return float(distance), float(chi_squared / rows)

    def resample(self, rows: int, draws: int, random: np.random.Generator) -> tuple[Floats, Floats]:
        """Return both distances of `draws` samples of `rows` rows from the baseline itself."""
        shares = random.multinomial(rows, self.shares, size=draws) / rows
        distances = jensenshannon(shares, self.shares[None, :], base=2, axis=1)
        return np.nan_to_num(distances), ((shares - self.shares) ** 2 / self.shares).sum(axis=1)


def more_likely(count: int, rows: int, before: int, rows_before: int) -> float:
    """Return the probability of `count` of `rows` or more, after `before` of `rows_before`.

    It is the posterior predictive distribution, which counts in that `rows_before` is finite: beta-binomial.
    """
    return float(stats.betabinom.sf(count - 1, rows, before + 1, max(1, rows_before - before)))


@lru_cache(maxsize=4096)
def share_threshold(probability: float, rows: int, before: int, rows_before: int) -> float:
    """Return the lowest share of `rows` that is no more likely than `probability`."""
    counts = np.arange(rows + 1)
    likely = stats.betabinom.sf(counts - 1, rows, before + 1, max(1, rows_before - before))
    return float(np.searchsorted(-likely, -probability) / rows)


def less_likely(count: int, rows: int, before: int, rows_before: int) -> float:
    """Return the probability of `count` of `rows` or less, after `before` of `rows_before`."""
    return float(stats.betabinom.cdf(count, rows, max(1, before), rows_before - before + 1))
