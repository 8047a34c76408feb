"""A baseline prepared for comparisons: each column as arrays, with what is rare made one."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ml.monitor.drift.baseline import Column, DriftBaseline
from ml.monitor.drift.distances import LabelReference, NumberReference
from ml.monitor.drift.effective import Flags, Floats, Ints

MAX_LABELS = 50  # compared by their shares; rarer ones are one
MIN_EXPECTED = 5  # rows of a label in a window; labels with fewer are one


MISSING, UNSEEN = -2, -1  # numbers of labels that are none


@dataclass(frozen=True)
class EncodedColumn:
    """One column of a window."""

    codes: Ints  # the number of each row's label
    numbers: Floats  # NaN where a row has none
    unseen: Flags  # a new label, or a number or length out of the baseline's range


@dataclass(frozen=True)
class ReferenceColumn:
    """One column of a baseline."""

    key: str  # of its thresholds
    column: Column
    is_prediction: bool

    @cached_property
    def present(self) -> int:
        return sum(label is not None for label in self.column.labels)

    @cached_property
    def numbers(self) -> NumberReference | None:
        found = np.array([number for number in self.column.numbers if number is not None], dtype=float)
        return NumberReference.from_numbers(found) if len(found) else None

    @cached_property
    def counts(self) -> dict[str, int]:
        """Return how often each label came, the most frequent first."""
        counts: dict[str, int] = {}
        for label in self.column.labels:
            if label is not None:
                counts[label] = counts.get(label, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @cached_property
    def once(self) -> int:
        """Return how many values would be unseen without their one row: the measure of values to come."""
        labels = sum(count == 1 for count in self.counts.values())
        if self.numbers is None:
            return labels
        numbers = self.numbers.sorted
        return labels + int(np.sum(numbers == numbers[0]) == 1) + int(np.sum(numbers == numbers[-1]) == 1)

    @cached_property
    def codes(self) -> dict[str, int]:
        """Return the number of each label."""
        return {label: code for code, label in enumerate(self.counts)}

    def encode(self, window: Column) -> "EncodedColumn":
        """Return a window's column as arrays, with the numbers of this baseline's labels."""
        codes = np.array(
            [MISSING if label is None else self.codes.get(label, UNSEEN) for label in window.labels]
        )
        numbers = np.array(window.numbers or [None] * len(window), dtype=float)  # None: NaN
        unseen = codes == UNSEEN
        if self.numbers is not None:  # no comparison with NaN holds
            unseen |= (numbers < self.numbers.sorted[0]) | (numbers > self.numbers.sorted[-1])
        return EncodedColumn(codes, numbers, unseen)

    def group_labels(self, rows: int) -> tuple[Ints, LabelReference]:
        """Return the group of each label's number, and the groups' shares; labels rare in `rows` are one."""
        least = MIN_EXPECTED * self.present / rows
        sizes = [count for count in self.counts.values() if count >= least][:MAX_LABELS]
        frequent, rare = len(sizes), self.present - sum(sizes)
        if rare >= least or not sizes:
            sizes.append(rare)
        else:
            sizes[-1] += rare
        groups = np.minimum(np.arange(len(self.counts)), len(sizes) - 1 if rare else frequent - 1)
        return groups, LabelReference(np.array(sizes) / self.present)


def prepare_columns(baseline: DriftBaseline) -> list[ReferenceColumn]:
    features = [ReferenceColumn(f"feature {column.name}", column, False) for column in baseline.features]
    prediction = baseline.prediction
    return features + ([ReferenceColumn("prediction", prediction, True)] if prediction else [])


def number_calls(calls: list[str]) -> Ints:
    """Return the number of each row's call."""
    _, numbers = np.unique(np.array(calls, dtype=object).astype(str), return_inverse=True)
    return np.asarray(numbers).reshape(-1)
