"""Distributions have few round bins, hold every value once, and no text that only one request contained."""

import json
import math
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.monitor.drift.baseline import Column, make_baseline, measure_column
from ml.monitor.drift.calibration import CalibrationCache
from ml.monitor.drift.distribution import (
    MAX_BINS,
    MAX_LABELS,
    Distribution,
    Quantity,
    compare_distributions,
)
from ml.monitor.drift.judge import MAX_DISTRIBUTIONS, DriftJudge
from ml.monitor.drift.windows import Row, Window, WindowName
from tests.ml.monitor.test_judge import judge_rows, make_rows
from tests.ml.monitor.test_values import ANY_JSON


@pytest.fixture(scope="module")
def judge() -> DriftJudge:
    return DriftJudge(make_baseline(make_rows(5000)), CalibrationCache("digest"))


def compare(before: list[Any], now: list[Any]) -> Distribution:
    baseline = measure_column("x", before)
    found = compare_distributions(baseline, measure_column("x", now, baseline.kind))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("before", "now", "ends", "bins"),
    [
        (list(range(18, 80)), [40.0], (15, 80), 13),  # whole numbers by whole steps
        ([number / 10 for number in range(100)], [3.3], (0, 10), 20),
        ([float(number) for number in range(10)] * 9, [9.0], (0, 10), 10),
        ([0.5] * 50, [0.5], (0.475, 0.525), 1),  # constant
        ([1e300, -1e300] * 30, [0.0], (-1e300, 1.2e300), 11),
        ([1e15, 1e15 + 1] * 30, [1e15], None, 1),  # by less than their digits tell
        ([0.0] * 99 + [1e300], [1.0], (0, 2), 2),  # one outlier does not stretch the axis
        ([0.0, 5e-324] * 30, [0.0], None, 1),
    ],
)
def test_bins_are_few_and_round(
    before: list[float], now: list[float], ends: tuple[float, float] | None, bins: int
) -> None:
    baseline = Column("x", measure_column("x", [0.1]).kind, ("number",) * len(before), tuple(before))
    window = Column("x", baseline.kind, ("number",) * len(now), tuple(now))
    found = compare_distributions(baseline, window)
    assert found is not None
    assert len(found.before) == bins
    if ends:
        assert (found.edges[0], found.edges[-1]) == pytest.approx(ends)


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY_JSON, min_size=1, max_size=60), st.lists(ANY_JSON, max_size=60))
def test_of_any_values_each_is_counted_once(before: list[Any], now: list[Any]) -> None:
    baseline = measure_column("x", before)
    found = compare_distributions(baseline, measure_column("x", now, baseline.kind))
    if found is None:
        return
    json.dumps(asdict(found), allow_nan=False)
    assert len(found.before) == len(found.now) <= MAX_BINS
    assert len(found.labels) <= MAX_LABELS
    assert all(one < other for one, other in pairwise(found.edges))
    for shares, extra, count in (
        (found.before, found.other[0], found.values[0]),
        (found.now, found.other[1] + found.unseen, found.values[1]),
    ):
        assert math.isclose(sum(shares) + extra, 1 if count else 0, abs_tol=0.001)


def test_the_most_frequent_labels_are_listed_and_the_rest_is_one() -> None:
    before = [letter for place, letter in enumerate("abcdefghijklmnop") for _ in range(40 - place)]
    found = compare(before, ["p"] * 50 + ["a"] * 30 + ["z"] * 20)
    assert found.of is Quantity.LABELS
    assert found.labels[0] == '"a"'
    assert found.labels[-1] == '"p"'  # rare before, frequent now
    assert len(found.labels) == MAX_LABELS
    assert found.now[-1] == 0.5
    assert found.unseen == 0.2
    assert found.other[0] > 0.3


def test_what_one_request_contained_is_in_no_finding(judge: DriftJudge) -> None:
    rows = make_rows(500)
    for row in rows[:40]:
        row["color"] = row["note"] = "Ada Lovelace, Tel. 0171"
    finding = judge_rows(judge, rows)
    text = json.dumps(asdict(finding), allow_nan=False)
    color = next(column for column in finding.columns if column.name == "color").distribution
    assert color is not None
    assert color.unseen == 0.08
    assert "Lovelace" not in text


def test_what_few_rows_of_the_baseline_contained_is_no_label() -> None:
    found = compare(["a"] * 95 + ["Ada Lovelace"] * 4, ["Ada Lovelace"] * 9 + ["a"])
    assert found.labels == ('"a"',)
    assert found.other == (0.0404, 0.9)
    assert found.unseen == 0.0


def test_texts_are_counted_by_length(judge: DriftJudge) -> None:
    finding = judge_rows(judge, make_rows(500))
    found = {column.name: column.distribution for column in finding.columns}
    assert found["note"] is not None
    assert found["note"].of is Quantity.LENGTHS
    assert found["items"] is not None
    assert found["items"].edges == tuple(range(1, 10))


def test_of_many_columns_the_worst_have_a_distribution() -> None:
    rows = [{f"c{column}": float(place * column % 97) for column in range(60)} for place in range(400)]
    baseline = make_baseline(rows, predictions=[row["c7"] for row in rows])
    judge = DriftJudge(baseline, CalibrationCache("wide"))
    window = [Row(str(place), float(place), row, row["c7"]) for place, row in enumerate(rows)]
    finding = judge.judge(Window(WindowName.NEWEST, tuple(window), len(window)))
    drawn = [column for column in finding.columns if column.distribution]
    assert len(drawn) in (MAX_DISTRIBUTIONS, MAX_DISTRIBUTIONS + 1)
    assert [column for column in drawn if column.is_prediction]
    assert drawn[:MAX_DISTRIBUTIONS] == list(finding.columns[:MAX_DISTRIBUTIONS])
    assert len(json.dumps(asdict(finding))) < 150_000
