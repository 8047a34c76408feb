"""What is no change alarms nobody, what is one is named, and what is too little is said to be that."""

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.monitor.drift.baseline import Source, make_baseline
from ml.monitor.drift.calibration import CalibrationCache
from ml.monitor.drift.findings import ColumnFinding, DriftStatus, WindowFinding
from ml.monitor.drift.judge import DriftJudge, next_suspicion
from ml.monitor.drift.windows import Row, Window, WindowName
from tests.ml.monitor.test_values import ANY_JSON
from tests.ml.monitor.worlds import Change, World, make_judge, make_window

Features = list[dict[str, Any]]
RANDOM = np.random.default_rng(11)


def make_rows(count: int, year: int = 2025) -> Features:
    return [
        {
            "size": float(RANDOM.normal()),
            "count": int(RANDOM.integers(1000)),
            "day": f"{year}-{RANDOM.integers(1, 13):02}-{RANDOM.integers(1, 29):02}",
            "color": str(RANDOM.choice(["red", "green", "blue"])),
            "note": "x" * int(RANDOM.integers(5, 60)) + str(RANDOM.integers(10**9)),
            "items": [1.0] * int(RANDOM.integers(1, 9)),
        }
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def judge() -> DriftJudge:
    return DriftJudge(make_baseline(make_rows(5000)), CalibrationCache("digest"))


def judge_rows(judge: DriftJudge, rows: Features, rows_in_call: int = 1) -> WindowFinding:
    made = [Row(str(place // rows_in_call), float(place), row) for place, row in enumerate(rows)]
    return judge.judge(Window(WindowName.NEWEST, tuple(made), len(made)))


def column_of(finding: WindowFinding, name: str) -> ColumnFinding:
    return next(column for column in finding.columns if column.name == name)


@pytest.mark.parametrize(
    ("place", "name", "values"),
    [
        (0, "size", [math.inf]),
        (0, "size", [-(10**400)]),
        (0, "size", [math.nan]),
        (0, "size", ["many"]),
        (0, "color", ["violet"]),
        (0, "color", [None]),
        (0, "items", [{"a": 1}]),
        (0, "note", ["x" * 1_000_000]),
    ],
    ids=lambda value: str(value)[:20],
)
def test_one_odd_value_is_no_change(judge: DriftJudge, place: int, name: str, values: list[Any]) -> None:
    rows = make_rows(500)
    rows[place][name] = values[0]
    assert judge_rows(judge, rows).status is DriftStatus.SAME


def test_dates_that_go_on_are_no_change(judge: DriftJudge) -> None:
    assert judge_rows(judge, make_rows(500, year=2027)).status is DriftStatus.SAME


def test_whole_numbers_written_as_decimals_are_no_change(judge: DriftJudge) -> None:
    assert (
        judge_rows(judge, [row | {"count": float(row["count"])} for row in make_rows(500)]).status
        is DriftStatus.SAME
    )


def test_one_call_of_odd_rows_is_no_change(judge: DriftJudge) -> None:
    """A twentieth of the rows is from one call, and none of them has a size."""
    rows = make_rows(1000)
    made = [Row(str(max(place, 49)), float(place), row) for place, row in enumerate(rows)]
    for row in rows[:50]:
        row["size"] = None
    assert judge.judge(Window(WindowName.NEWEST, tuple(made), 1000)).status is DriftStatus.SAME


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("size", lambda _: None, "missing in 100.0% of the rows"),
        ("size", str, "outside the baseline's range or of another type"),
        ("size", lambda _: math.inf, "its numbers"),
        ("size", lambda _: 3.0, "its numbers"),
        ("count", lambda value: value * 10, "its numbers"),
        ("color", lambda value: "violet" if RANDOM.random() < 0.05 else value, "not in the baseline"),
        (
            "color",
            lambda value: "red" if RANDOM.random() < 0.3 else value,
            "the shares of its categories changed",
        ),
        ("day", lambda value: value.replace("-", "/ "), "of a length or type that the baseline has not"),
        ("note", lambda value: value[:30], "the lengths of its values"),
        ("note", lambda _: 7, "of a length or type"),
        ("items", lambda value: [*value, "text"], "of a length, keys or types"),
        ("items", lambda value: value[:4], "the lengths of its values"),
    ],
)
def test_a_change_is_named_with_its_reason(judge: DriftJudge, name: str, change: Any, reason: str) -> None:
    finding = judge_rows(judge, [row | {name: change(row[name])} for row in make_rows(500)])
    column = column_of(finding, name)
    assert column.status is DriftStatus.SUSPECTED
    assert reason in column.reason
    assert finding.status is DriftStatus.SUSPECTED
    assert name in finding.reason


def test_absent_columns_are_missing_and_new_ones_named(judge: DriftJudge) -> None:
    rows = [
        {key: value for key, value in row.items() if key != "size"} | {"new": 1} for row in make_rows(300)
    ]
    finding = judge_rows(judge, rows)
    assert column_of(finding, "size").status is DriftStatus.SUSPECTED
    assert finding.unknown_columns == ("new",)


def test_too_little_is_said_to_be_too_few(judge: DriftJudge) -> None:
    assert judge_rows(judge, make_rows(99)).status is DriftStatus.TOO_FEW
    assert "99 rows to compare, and 100 are needed" in judge_rows(judge, make_rows(99)).reason
    assert "20 calls are needed" in judge.judge(Window(WindowName.DAY, (), 5000)).reason
    small = DriftJudge(make_baseline(make_rows(199)), CalibrationCache("small"))
    assert "the baseline has 199 rows, and 200 are needed" in judge_rows(small, make_rows(500)).reason


def test_drift_needs_two_windows_of_other_rows() -> None:
    judge, _ = make_judge(1)
    changed = World(np.random.default_rng(2), Change.SHIFT)
    first = judge.judge(make_window(changed.rows(500), 0))
    suspicion = next_suspicion(first, {})
    assert first.status is DriftStatus.SUSPECTED

    again = judge.judge(make_window(changed.rows(500), 0), suspicion)  # rows of the same time
    assert again.status is DriftStatus.SUSPECTED
    suspicion = next_suspicion(again, suspicion)
    second = judge.judge(make_window(changed.rows(500), 1), suspicion)
    assert second.status is DriftStatus.DRIFT
    suspicion = next_suspicion(second, suspicion)
    assert judge.judge(make_window(changed.rows(500), 2), suspicion).status is DriftStatus.DRIFT

    few = judge.judge(make_window(changed.rows(50), 3), suspicion)
    assert next_suspicion(few, suspicion) == suspicion
    calm = judge.judge(make_window(World(np.random.default_rng(3)).rows(500), 4), suspicion)
    assert (calm.status, next_suspicion(calm, suspicion)) == (DriftStatus.SAME, {})


def test_a_prediction_alone_may_drift() -> None:
    judge, _ = make_judge(1)
    rows = [
        Row(row.call, row.at, row.features, row.prediction + 1)
        for row in make_window(World(np.random.default_rng(2)).rows(500)).rows
    ]
    finding = judge.judge(Window(WindowName.NEWEST, tuple(rows), 500))
    assert [(one.is_prediction, one.status) for one in finding.columns[:2]] == [
        (True, DriftStatus.SUSPECTED),
        (False, DriftStatus.SAME),
    ]


def test_features_that_are_no_columns_are_one() -> None:
    def texts(length: int) -> list[str]:
        return ["x" * int(RANDOM.poisson(length)) for _ in range(600)]

    judge = DriftJudge(make_baseline(texts(40), source=Source.REQUESTS), CalibrationCache("texts"))
    assert judge_rows(judge, texts(40)).status is DriftStatus.SAME  # type: ignore[arg-type]
    assert column_of(judge_rows(judge, texts(60)), "features").status is DriftStatus.SUSPECTED  # type: ignore[arg-type]


@given(before=st.lists(ANY_JSON, min_size=1, max_size=6), now=st.lists(ANY_JSON, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_values_lead_to_a_finding(before: list[Any], now: list[Any]) -> None:
    """Whatever trained and whatever is asked: a status, and findings that are JSON."""
    baseline = make_baseline([{"a": before[row % len(before)]} for row in range(240)], [1] * 240)
    finding = judge_rows(
        DriftJudge(baseline, CalibrationCache("any")), [{"a": now[row % len(now)]} for row in range(120)]
    )
    assert finding.status in (DriftStatus.SAME, DriftStatus.SUSPECTED)
    json.dumps(asdict(finding), allow_nan=False)
    for column in finding.columns:
        assert 0 <= column.probability <= 1
        assert all(0 <= one.probability <= 1 for one in column.comparisons)


@given(values=st.lists(ANY_JSON, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_the_same_values_are_no_change(values: list[Any]) -> None:
    rows = [{"a": values[row % len(values)]} for row in range(240)]
    judge = DriftJudge(make_baseline(rows), CalibrationCache("same"))
    assert judge_rows(judge, rows).status is DriftStatus.SAME
