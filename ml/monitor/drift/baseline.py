"""What drift is measured against: rows, and the release's predictions on them; standard library only."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ml.monitor.drift.kinds import choose_kind
from ml.monitor.drift.values import Kind, measure_values
from ml.monitor.drift.windows import MAX_CALL_SHARE

MAX_TRAINING_ROWS = 10_000
MAX_REQUEST_ROWS = 1_000
MAX_CELLS = 1_000_000  # rows times columns: of very many columns fewer rows are taken
MAX_COLUMNS = 1_000
MAX_NAME_CHARS = 200
WHOLE_FEATURES, PREDICTION = "features", "prediction"  # names of columns that are no key of the features


class BaselineError(Exception):
    """A baseline that cannot be made or read; the text gives the cause and what to do."""


class Source(StrEnum):
    """The origin of a baseline's rows."""

    TRAINING = "training"
    REQUESTS = "requests"  # the first recorded ones, where features are no columns


@dataclass(frozen=True)
class Column:
    """One measured column; where a row has no label, its value is missing."""

    name: str
    kind: Kind
    labels: tuple[str | None, ...]
    numbers: tuple[float | None, ...] = ()  # empty: this kind has none

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DriftBaseline:
    source: Source
    rows: int
    has_columns: bool  # else the features of a row are one value, measured as a column `features`
    features: tuple[Column, ...]
    prediction: Column | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self.features, *([self.prediction] if self.prediction else []))


def make_baseline(
    features: Sequence[Any], predictions: Sequence[Any] = (), source: Source = Source.TRAINING, seed: int = 0
) -> DriftBaseline:
    """Measure the features of rows, and the predictions on them: none, or one for each row.

    Of more rows than a baseline may have, an equal-probability draw is taken from training data, and the
    first ones from requests. Raises BaselineError where there is nothing to measure.
    """
    if predictions and len(predictions) != len(features):
        raise BaselineError(f"there are {len(predictions)} predictions on {len(features)} rows")
    if not features:
        raise BaselineError("a baseline needs rows: there are none")
    names = list_columns(features)
    picked = pick_rows(len(features), len(names) + bool(predictions), source, seed)
    columns = tuple(
        measure_column(name, [select(features[row], name, bool(names)) for row in picked])
        for name in names or [WHOLE_FEATURES]
    )
    prediction = measure_column(PREDICTION, [predictions[row] for row in picked]) if predictions else None
    return DriftBaseline(source, len(picked), bool(names), columns, prediction)


def select_usual(features: Sequence[Any], predictions: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return requests and their predictions with the columns that they usually have.

    No call decides alone whether there are columns, or which: names of few rows are left out, and so are rows
    that are no object where nearly all are.
    """
    rare = MAX_CALL_SHARE * len(features)  # as many rows as one call may have
    places = [place for place, row in enumerate(features) if isinstance(row, dict)]
    names = Counter(name for place in places for name in features[place])
    usual = {name for name, rows in names.items() if rows > rare}
    if not usual or len(features) - len(places) > rare:
        return list(features), list(predictions)
    reduced = [{name: one for name, one in features[place].items() if name in usual} for place in places]
    return reduced, [predictions[place] for place in places]


def list_columns(features: Sequence[Any]) -> list[str]:
    """Return the names of the columns in the order of the rows; none where features are no columns."""
    names: dict[str, None] = {}
    for row in features:
        if not isinstance(row, dict):
            return []
        names |= dict.fromkeys(row)
        if len(names) > MAX_COLUMNS:
            raise BaselineError(f"features have more than {MAX_COLUMNS:,} columns: drift is not measured")
    if too_long := next((name for name in names if len(name) > MAX_NAME_CHARS), None):
        raise BaselineError(f"the name of the column {too_long[:40]}… is longer than {MAX_NAME_CHARS}")
    return list(names)


def pick_rows(rows: int, columns: int, source: Source, seed: int) -> list[int]:
    most = MAX_TRAINING_ROWS if source is Source.TRAINING else MAX_REQUEST_ROWS
    most = min(most, MAX_CELLS // max(1, columns))
    if rows <= most or source is Source.REQUESTS:
        return list(range(min(rows, most)))
    return sorted(random.Random(seed).sample(range(rows), most))  # noqa: S311 (a draw, no secret)


def select(features: Any, name: str, has_columns: bool) -> Any:
    """Return the value of one column of a row: null where the row has none."""
    if not has_columns:
        return features
    return features.get(name) if isinstance(features, dict) else None


def measure_column(name: str, values: Sequence[Any], kind: Kind | None = None) -> Column:
    """Measure a column, by default in the way that fits its values."""
    kind = kind or choose_kind(values)
    numbers, labels = measure_values(kind, values)
    return Column(name, kind, labels, () if kind is Kind.CATEGORY else numbers)
