"""The comparison of one column of a window with the baseline, statistic by statistic."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ml.monitor.drift.baseline import Column
from ml.monitor.drift.calibration import CalibrationCache, NullDistribution, round_rows
from ml.monitor.drift.distances import less_likely, more_likely, share_threshold
from ml.monitor.drift.effective import Flags, Floats, Ints, effective_rows, one_hot, ranks
from ml.monitor.drift.findings import Comparison, Statistic
from ml.monitor.drift.reference import MISSING, EncodedColumn, ReferenceColumn

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
        encoded = reference.encode(window)
        return [
            *self._compare_numbers(reference, encoded),
            *self._compare_labels(reference, encoded),
            *self._compare_missing(reference, encoded),
            *self._compare_unseen(reference, encoded),
        ]

    def _compare_numbers(self, reference: ReferenceColumn, window: EncodedColumn) -> Iterator[Comparison]:
        chosen = ~np.isnan(window.numbers)
        numbers = window.numbers[chosen]
        if reference.numbers is None or not len(numbers):
            return
        rows = effective_rows(ranks(numbers), self.calls[chosen])
        if rows >= MIN_VALUES:
            drawn = count_draws(rows, len(reference.numbers.sorted))
            nulls = self.cache.get(f"numbers {reference.key}", reference.numbers, drawn)
            distances = reference.numbers.measure(numbers)
            yield compare_distance(Statistic.KOLMOGOROV_SMIRNOV, distances[0], nulls[0], rows)
            yield compare_distance(Statistic.WASSERSTEIN, distances[1], nulls[1], rows)

    def _compare_labels(self, reference: ReferenceColumn, window: EncodedColumn) -> Iterator[Comparison]:
        chosen = window.codes >= 0
        if not chosen.any() or len(reference.counts) < 2:
            return
        groups, shares = reference.group_labels(round_rows(int(chosen.sum())))
        codes, width = groups[window.codes[chosen]], len(shares.shares)
        rows = effective_rows(one_hot(codes, width), self.calls[chosen])
        if rows >= MIN_VALUES and width > 1:
            drawn = count_draws(rows, reference.present)
            nulls = self.cache.get(f"labels {shares.key} {reference.key}", shares, drawn)
            distances = shares.measure(np.bincount(codes, minlength=width))
            yield compare_distance(Statistic.JENSEN_SHANNON, distances[0], nulls[0], rows)
            yield compare_distance(Statistic.CHI_SQUARED, distances[1], nulls[1], rows)

    def _compare_missing(self, reference: ReferenceColumn, window: EncodedColumn) -> Iterator[Comparison]:
        traits = window.codes == MISSING
        baseline_rows = len(reference.column)
        before = baseline_rows - reference.present
        rows = effective_rows(to_scores(traits), self.calls)
        counted = (*to_counts(traits, rows), before, baseline_rows)
        probability = 2 * min(more_likely(*counted), less_likely(*counted))
        threshold = share_threshold(ALPHA / MAX_STATISTICS / 2, *counted[1:])
        shares = float(traits.mean()), before / baseline_rows
        yield compare_shares(Statistic.MISSING, shares, threshold, probability, rows)

    def _compare_unseen(self, reference: ReferenceColumn, window: EncodedColumn) -> Iterator[Comparison]:
        chosen = window.codes != MISSING
        if not chosen.any() or not reference.present:
            return
        traits = window.unseen[chosen]
        rows = effective_rows(to_scores(traits), self.calls[chosen])
        counted = (*to_counts(traits, rows), reference.once, reference.present)
        threshold = share_threshold(ALPHA / MAX_STATISTICS, *counted[1:])
        shares = float(traits.mean()), 0.0
        yield compare_shares(Statistic.UNSEEN, shares, threshold, more_likely(*counted), rows)


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
    statistic: Statistic, shares: tuple[float, float], threshold: float, probability: float, rows: float
) -> Comparison:
    """Compare the share of rows in the window with the one in the baseline."""
    share, before = shares
    least = MIN_CHANGE[statistic]
    threshold, is_large = max(threshold, before + least), abs(share - before) >= least
    return Comparison(statistic, share, threshold, before, min(1.0, probability), rows, is_large)


def to_scores(traits: Flags) -> Floats:
    return traits.astype(float).reshape(-1, 1)


def to_counts(traits: Flags, rows: float) -> tuple[int, int]:
    """Return of how many rows how many have a trait, as if they were independent."""
    whole = max(1, int(rows))
    return round(float(traits.mean()) * whole), whole
