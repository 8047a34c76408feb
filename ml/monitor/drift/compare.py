"""The comparison of one column of a window with the baseline, statistic by statistic."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ml.monitor.drift.baseline import Column
from ml.monitor.drift.calibration import CalibrationCache, NullDistribution, round_rows
from ml.monitor.drift.distances import less_likely, more_likely
from ml.monitor.drift.effective import Floats, Ints, effective_rows, one_hot, ranks
from ml.monitor.drift.findings import Comparison, Statistic
from ml.monitor.drift.reference import ReferenceColumn

ALPHA = 0.01  # the false discovery rate over the columns of one window
MIN_VALUES = 30  # effective rows that have a value to compare
# changes that are too small to matter, however many rows show them
MIN_CHANGE = {
    Statistic.KOLMOGOROV_SMIRNOV: 0.1,
    Statistic.WASSERSTEIN: 0.1,  # standard deviations
    Statistic.JENSEN_SHANNON: 0.05,
    Statistic.CHI_SQUARED: 0.02,  # for each row
    Statistic.MISSING: 0.01,  # of the rows
    Statistic.UNSEEN: 0.01,
}
MAX_STATISTICS = 6


@dataclass(frozen=True)
class Comparer:
    """Compares columns, each at its own effective number of rows."""

    cache: CalibrationCache
    calls: Ints  # the number of each row's call

    def compare(self, reference: ReferenceColumn, window: Column) -> list[Comparison]:
        """Return the comparisons of one column; none of what too few rows have."""
        return [
            *self._compare_numbers(reference, window),
            *self._compare_labels(reference, window),
            *self._compare_missing(reference, window),
            *self._compare_unseen(reference, window),
        ]

    def _compare_numbers(self, reference: ReferenceColumn, window: Column) -> Iterator[Comparison]:
        places = [row for row, number in enumerate(window.numbers) if number is not None]
        if reference.numbers is None or not places:
            return
        numbers = np.array([window.numbers[row] for row in places], dtype=float)
        rows = effective_rows(ranks(numbers), self.calls[places])
        if rows >= MIN_VALUES:
            drawn = count_draws(rows, len(reference.numbers.sorted))
            nulls = self.cache.get(f"numbers {reference.key}", reference.numbers, drawn)
            distances = reference.numbers.measure(numbers)
            yield compare_distance(Statistic.KOLMOGOROV_SMIRNOV, distances[0], nulls[0], rows)
            yield compare_distance(Statistic.WASSERSTEIN, distances[1], nulls[1], rows)

    def _compare_labels(self, reference: ReferenceColumn, window: Column) -> Iterator[Comparison]:
        places = [row for row, label in enumerate(window.labels) if label in reference.counts]
        if not places or len(reference.counts) < 2:
            return
        groups, shares = reference.group_labels(round_rows(len(places)))
        codes = np.array([groups[str(window.labels[row])] for row in places])
        width = len(shares.shares)
        rows = effective_rows(one_hot(codes, width), self.calls[places])
        if rows >= MIN_VALUES and width > 1:
            drawn = count_draws(rows, reference.present)
            nulls = self.cache.get(f"labels {shares.key} {reference.key}", shares, drawn)
            distances = shares.measure(np.bincount(codes, minlength=width))
            yield compare_distance(Statistic.JENSEN_SHANNON, distances[0], nulls[0], rows)
            yield compare_distance(Statistic.CHI_SQUARED, distances[1], nulls[1], rows)

    def _compare_missing(self, reference: ReferenceColumn, window: Column) -> Iterator[Comparison]:
        traits = np.array([label is None for label in window.labels])
        baseline_rows = len(reference.column)
        before = baseline_rows - reference.present
        rows = effective_rows(to_scores(traits), self.calls)
        counted, likely = to_counts(traits, rows)
        probability = 2 * min(
            more_likely(counted, likely, before, baseline_rows),
            less_likely(counted, likely, before, baseline_rows),
        )
        yield compare_shares(
            Statistic.MISSING, float(traits.mean()), before / baseline_rows, probability, rows
        )

    def _compare_unseen(self, reference: ReferenceColumn, window: Column) -> Iterator[Comparison]:
        numbers = window.numbers or [None] * len(window)
        places = [row for row, label in enumerate(window.labels) if label is not None]
        if not places or not reference.present:
            return
        traits = np.array([reference.is_unseen(str(window.labels[row]), numbers[row]) for row in places])
        rows = effective_rows(to_scores(traits), self.calls[places])
        probability = more_likely(*to_counts(traits, rows), reference.once, reference.present)
        yield compare_shares(Statistic.UNSEEN, float(traits.mean()), 0.0, probability, rows)


def count_draws(rows: float, baseline_rows: int) -> int:
    """Return how many rows to draw of a baseline that is itself a sample: both vary."""
    return round_rows(rows * baseline_rows / (rows + baseline_rows))


def compare_distance(
    statistic: Statistic, distance: float, null: NullDistribution, rows: float
) -> Comparison:
    least = MIN_CHANGE[statistic]
    threshold = max(null.distance(ALPHA / MAX_STATISTICS), least)
    return Comparison(
        statistic, distance, threshold, 0.0, null.probability(distance), rows, distance >= least
    )


def compare_shares(
    statistic: Statistic, share: float, before: float, probability: float, rows: float
) -> Comparison:
    least = MIN_CHANGE[statistic]
    is_large = abs(share - before) >= least
    return Comparison(statistic, share, before + least, before, min(1.0, probability), rows, is_large)


def to_scores(traits: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Floats:
    return traits.astype(float).reshape(-1, 1)


def to_counts(traits: "np.ndarray[tuple[int], np.dtype[np.bool_]]", rows: float) -> tuple[int, int]:
    """Return of how many rows how many have a trait, as if they were independent."""
    whole = max(1, int(rows))
    return round(float(traits.mean()) * whole), whole
