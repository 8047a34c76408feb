"""What a comparison found, as values that are written as JSON; standard library only."""

from dataclasses import dataclass
from enum import StrEnum

from ml.monitor.drift.distribution import Distribution


class Statistic(StrEnum):
    """A measure that is compared."""

    KOLMOGOROV_SMIRNOV = "kolmogorov_smirnov"
    WASSERSTEIN = "wasserstein"
    JENSEN_SHANNON = "jensen_shannon"
    CHI_SQUARED = "chi_squared"
    MISSING = "missing"
    UNSEEN = "unseen"


class DriftStatus(StrEnum):
    """The judgement of a window or of a column."""

    TOO_FEW = "too few"
    SAME = "same"
    SUSPECTED = "suspected"  # in one window; drift where the next one, of other rows, shows it too
    DRIFT = "drift"


@dataclass(frozen=True)
class Comparison:
    """One statistic of one column."""

    statistic: Statistic
    value: float  # a distance, or the share of rows in the window
    threshold: float  # from here on the change is too large, if the column stood alone
    before: float  # the share in the baseline; 0 of a distance
    probability: float  # of a value like this where nothing has changed
    rows: float  # the effective number of rows
    is_large: bool  # large enough to matter, however probable


@dataclass(frozen=True)
class ColumnFinding:
    """The judgement of one column, with its comparisons."""

    name: str
    is_prediction: bool
    kind: str
    status: DriftStatus
    probability: float  # adjusted for the number of columns and of statistics
    reason: str
    comparisons: tuple[Comparison, ...]
    distribution: Distribution | None = None  # of the worst columns, and of the prediction


@dataclass(frozen=True)
class WindowFinding:
    """The judgement of one window; the worst column is first."""

    window: str
    status: DriftStatus
    reason: str
    rows: int
    recorded: int
    calls: int
    oldest: float
    newest: float
    columns: tuple[ColumnFinding, ...]
    unknown_columns: tuple[str, ...] = ()  # that the baseline has not; they are not judged


UNSEEN_VALUES = {
    "number": "outside the baseline's range or of another type",
    "category": "not in the baseline",
    "text": "of a length or type that the baseline has not",
    "nested": "of a length, keys or types that the baseline has not",
}


def explain(kind: str, worst: Comparison) -> str:
    """Return in one sentence how a column changed."""
    value, before = worst.value, worst.before
    match worst.statistic:
        case Statistic.MISSING:
            return f"missing in {value:.1%} of the rows, in the baseline in {before:.1%}"
        case Statistic.UNSEEN:
            return f"{value:.1%} of the values are {UNSEEN_VALUES[kind]}"
        case Statistic.WASSERSTEIN:
            return f"{of(kind)} moved by {value:.2f} standard deviations (threshold {worst.threshold:.2f})"
        case Statistic.KOLMOGOROV_SMIRNOV:
            return f"{of(kind)} are distributed differently by {value:.2f} (threshold {worst.threshold:.2f})"
    what = "categories" if kind == "category" else "types"
    is_chi_squared = worst.statistic is Statistic.CHI_SQUARED
    measure = "chi-squared for each row" if is_chi_squared else "Jensen-Shannon distance"
    return f"the shares of its {what} changed: {measure} {value:.2f} (threshold {worst.threshold:.2f})"


def of(kind: str) -> str:
    return "its numbers" if kind == "number" else "the lengths of its values"
