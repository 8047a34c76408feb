"""Values of every type are measured, and none is taken for what it is not."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.monitor.drift.kinds import choose_kind
from ml.monitor.drift.values import MAX_LABEL_CHARS, MAX_NUMBER, Kind, measure_value, measure_values

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANY_JSON = st.recursive(
    SCALARS | st.just(10**400) | st.just(-(10**400)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([float(number) for number in range(100)], Kind.NUMBER),
        ([*range(100), None, math.nan, math.inf, "many"], Kind.NUMBER),
        ([0, 1] * 50, Kind.CATEGORY),
        ([1.0, 2.0, 3.0], Kind.NUMBER),  # too few rows to know
        ([True, False] * 50, Kind.CATEGORY),
        (["red", "green", "blue"] * 30, Kind.CATEGORY),
        ([f"customer {number}" for number in range(100)], Kind.TEXT),
        (["2026-01-31", "2026-02-01"] * 50, Kind.TEXT),  # else each new day would be news
        (["2026-01-31T12:00:00Z"] * 50, Kind.TEXT),
        ([[1, 2], [3]] * 20, Kind.NESTED),
        ([{"a": 1}, None] * 20, Kind.NESTED),
        ([None, math.nan] * 20, Kind.CATEGORY),
        ([], Kind.CATEGORY),
    ],
    ids=repr,
)
def test_a_column_is_compared_in_the_way_of_its_values(values: list[Any], kind: Kind) -> None:
    assert choose_kind(values) is kind


@pytest.mark.parametrize(
    ("kind", "value", "measure"),
    [
        (Kind.NUMBER, 3, (3.0, "number")),
        (Kind.NUMBER, math.inf, (MAX_NUMBER, "number")),
        (Kind.NUMBER, -(10**400), (-MAX_NUMBER, "number")),
        (Kind.NUMBER, math.nan, (None, None)),
        (Kind.NUMBER, None, (None, None)),
        (Kind.NUMBER, True, (None, "boolean")),
        (Kind.NUMBER, "3", (None, "text")),
        (Kind.CATEGORY, 1, (None, "1.0")),
        (Kind.CATEGORY, 1.0, (None, "1.0")),
        (Kind.CATEGORY, True, (None, "true")),
        (Kind.CATEGORY, "true", (None, '"true"')),
        (Kind.CATEGORY, "1.0", (None, '"1.0"')),
        (Kind.CATEGORY, math.nan, (None, None)),
        (Kind.TEXT, "abc", (3.0, "text")),
        (Kind.TEXT, 5, (None, "number")),
        (Kind.NESTED, [1, "a", None], (3.0, "list of null, number, text")),
        (Kind.NESTED, [], (0.0, "list of nothing")),
        (Kind.NESTED, {"b": 1, "a": 2}, (2.0, "object: a, b")),
    ],
)
def test_a_value_has_a_number_a_label_or_is_missing(
    kind: Kind, value: Any, measure: tuple[float | None, str | None]
) -> None:
    assert measure_value(kind, value) == measure


@given(value=ANY_JSON)
@settings(max_examples=300, deadline=None)
def test_every_value_is_measured_within_bounds(value: Any) -> None:
    for kind in Kind:
        number, label = measure_value(kind, value)
        assert number is None or abs(number) <= MAX_NUMBER
        assert label is None or 0 < len(label) <= MAX_LABEL_CHARS
        assert (label is None) == (value is None or str(value) == "nan")


@given(values=st.lists(st.floats() | st.integers() | st.none() | st.just(10**400), max_size=20))
@settings(deadline=None)
def test_many_values_are_measured_as_each_alone(values: list[Any]) -> None:
    numbers, labels = measure_values(Kind.NUMBER, values)
    assert list(zip(numbers, labels, strict=True)) == [measure_value(Kind.NUMBER, value) for value in values]
