"""A baseline prepared for comparisons: each column as arrays, with what is rare made one."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ml.monitor.drift.baseline import Baseline, Column
from ml.monitor.drift.distances import LabelReference, NumberReference
from ml.monitor.drift.effective import Floats, Ints
from ml.monitor.drift.values import Kind

MAX_LABELS = 50  # compared by their shares; rarer ones are one
MIN_EXPECTED = 5  # rows of a label in a window; labels with fewer are one


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
        found = to_array(self.column.numbers)
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
        if self.column.kind is not Kind.NUMBER or self.numbers is None:
            return labels
        numbers = self.numbers.sorted
        return labels + int(np.sum(numbers == numbers[0]) == 1) + int(np.sum(numbers == numbers[-1]) == 1)

    def is_unseen(self, label: str, number: float | None) -> bool:
        """Return whether the baseline has no such value: a new label, or a number out of its range."""
        if label not in self.counts:
            return True
        if self.column.kind is not Kind.NUMBER or number is None or self.numbers is None:
            return False
        return not self.numbers.sorted[0] <= number <= self.numbers.sorted[-1]

    def group_labels(self, rows: int) -> tuple[dict[str, int], LabelReference]:
        """Return the group of each label, and the groups' shares; labels rare in `rows` rows are one."""
        least = MIN_EXPECTED * self.present / rows
        frequent = [label for label, count in self.counts.items() if count >= least][:MAX_LABELS]
        sizes = [self.counts[label] for label in frequent]
        rare = self.present - sum(sizes)
        if rare >= least or not sizes:
            sizes.append(rare)
        else:
            sizes[-1] += rare
        groups = dict.fromkeys(self.counts, len(sizes) - 1)
        groups |= {label: group for group, label in enumerate(frequent)}
        return groups, LabelReference(np.array(sizes) / self.present)


def to_array(numbers: tuple[float | None, ...]) -> Floats:
    return np.array([number for number in numbers if number is not None], dtype=float)


def prepare_columns(baseline: Baseline) -> list[ReferenceColumn]:
    features = [ReferenceColumn(f"feature {column.name}", column, False) for column in baseline.features]
    prediction = baseline.prediction
    return features + ([ReferenceColumn("prediction", prediction, True)] if prediction else [])


def number_calls(calls: list[str]) -> Ints:
    """Return the number of each row's call."""
    _, numbers = np.unique(np.array(calls, dtype=object).astype(str), return_inverse=True)
    return np.asarray(numbers).reshape(-1)
