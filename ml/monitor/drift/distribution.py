"""The distributions of one column in the baseline and in a window, in few bins; standard library only."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from ml.monitor.drift.baseline import Column
from ml.monitor.drift.values import Kind

MAX_BINS = 20
MAX_LABELS = 10
MIN_LABEL_VALUES = 5  # of the baseline: a rarer label may tell of one person
EDGE_SHARE = 0.01  # of the numbers on either side that the first and the last bin take in
MIN_SPREAD = 1e-9  # of the numbers' magnitude; what differs by less is one bin
EDGE_DIGITS, SHARE_DIGITS = 12, 5
STEPS, WHOLE_STEPS = (1.0, 2.0, 2.5, 5.0), (1.0, 2.0, 5.0)


class Quantity(StrEnum):
    """The part of a column's values that is counted."""

    NUMBERS = "numbers"
    LENGTHS = "lengths"  # of texts, lists and objects
    LABELS = "labels"


@dataclass(frozen=True)
class Distribution:
    """Shares of the values in each bin or of each label, on both sides.

    The first and the last bin have what lies beyond them as well. Labels are frequent ones of the baseline
    alone: what only a window has is counted in `unseen`, so that no finding holds what one request contained.
    """

    of: Quantity
    edges: tuple[float, ...]  # one more than there are bins; none of labels
    labels: tuple[str, ...]
    before: tuple[float, ...]
    now: tuple[float, ...]
    other: tuple[float, float]  # labels that are not listed, before and now
    unseen: float  # labels that the baseline has not
    values: tuple[int, int]  # counted, before and now


def compare_distributions(baseline: Column, window: Column) -> Distribution | None:
    """Return how both are distributed; None where the baseline has no values."""
    before, now = list_numbers(baseline), list_numbers(window)
    if before:
        of = Quantity.NUMBERS if baseline.kind is Kind.NUMBER else Quantity.LENGTHS
        edges = choose_edges(before, now or before)
        shares = share_bins(before, edges), share_bins(now, edges)
        return Distribution(of, edges, (), *shares, (0.0, 0.0), 0.0, (len(before), len(now)))
    return compare_labels(count_labels(baseline), count_labels(window))


def list_numbers(column: Column) -> list[float]:
    return sorted(float(number) for number in column.numbers if number is not None)


def count_labels(column: Column) -> Counter[str]:
    return Counter(label for label in column.labels if label is not None)


def compare_labels(before: Counter[str], now: Counter[str]) -> Distribution | None:
    if not before:
        return None
    values = before.total(), now.total()

    def share(count: int, side: int) -> float:
        return round(count / values[side], SHARE_DIGITS) if values[side] else 0.0

    frequent = [label for label in before if before[label] >= MIN_LABEL_VALUES]
    largest = sorted(frequent, key=lambda label: (-max(share(before[label], 0), share(now[label], 1)), label))
    listed = sorted(largest[:MAX_LABELS], key=lambda label: (-before[label], label))
    rest = before.keys() - listed
    return Distribution(
        Quantity.LABELS,
        (),
        tuple(listed),
        tuple(share(before[label], 0) for label in listed),
        tuple(share(now[label], 1) for label in listed),
        (share(sum(before[label] for label in rest), 0), share(sum(now[label] for label in rest), 1)),
        share(sum(count for label, count in now.items() if label not in before), 1),
        values,
    )


def choose_edges(before: Sequence[float], now: Sequence[float]) -> tuple[float, ...]:
    """Return the round bounds of at most `MAX_BINS` bins that most of these sorted numbers lie in."""
    low = min(find_quantile(numbers, EDGE_SHARE) for numbers in (before, now))
    high = max(find_quantile(numbers, 1 - EDGE_SHARE) for numbers in (before, now))
    magnitude = max(abs(low), abs(high))
    if high - low > max(MIN_SPREAD * magnitude, 1e-290):
        are_whole = all(number.is_integer() for numbers in (before, now) for number in numbers)
        for step in list_steps((high - low) / MAX_BINS, are_whole):
            first, bins = math.floor(low / step), math.floor(high / step) - math.floor(low / step) + 1
            edges = [float(f"{(first + bin_) * step:.{EDGE_DIGITS}g}") for bin_ in range(bins + 1)]
            if bins <= MAX_BINS and all(one < other for one, other in pairwise(edges)):
                return tuple(edges)
    half = magnitude / 20 or 0.5
    return (low - half, high + half)


def list_steps(least: float, are_whole: bool) -> Iterator[float]:
    """Yield round numbers from the smallest that is not below `least`; of whole numbers whole ones."""
    power = math.floor(math.log10(least))
    for exponent in (power, power + 1):
        for step in WHOLE_STEPS if are_whole else STEPS:
            found = step * 10.0**exponent
            if found >= least and (not are_whole or found >= 1):
                yield found
    if are_whole and power < 0:
        yield 1.0


def find_quantile(numbers: Sequence[float], share: float) -> float:
    return numbers[round(share * (len(numbers) - 1))]


def share_bins(numbers: Sequence[float], edges: Sequence[float]) -> tuple[float, ...]:
    """Return the share of these numbers in each bin: the lower edge is in it, the upper one in the next."""
    last = len(edges) - 2
    counts = Counter(min(max(bisect_right(edges, number) - 1, 0), last) for number in numbers)
    return tuple(
        round(counts[bin_] / len(numbers), SHARE_DIGITS) if numbers else 0.0 for bin_ in range(last + 1)
    )
