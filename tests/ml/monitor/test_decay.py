"""Decay is found where a release became worse than its gate allows, and seldom where it did not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ml.manifest import Gate
from ml.monitor.decay import OWN_PREFIX, GateRules, QualityStatus, judge_window
from ml.monitor.quality.process import measure_release
from ml.monitor.quality.request import AnsweredRow, MetricKind

SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
MATRIX = [
    pytest.param(150, 300, id="few"),
    *(pytest.param(1000, rows, id=f"{rows}-rows", marks=SOAK) for rows in (60, 300, 1000)),
]


def judge(
    gate: dict[str, Any], before: dict[str, float], measured: dict[str, tuple[float, float, float] | float]
) -> tuple[QualityStatus, str]:
    """Judge a window whose metrics are intervals with the value in the middle, or values alone."""
    rules = GateRules(7, Gate.model_validate(gate), before)
    metrics = {
        name: dict(
            zip(("low", "value", "high"), it if isinstance(it, tuple) else (None, it, None), strict=True)
        )
        for name, it in measured.items()
    }
    return judge_window(rules, metrics, 500, 1000)


@pytest.mark.parametrize(
    ("gate", "before", "measured", "is_decay"),
    [
        ({"MAE": {"max": 2}}, {}, {"mae": (2.1, 2.2, 2.3)}, True),
        ({"MAE": {"max": 2}}, {}, {"mae": (1.9, 2.2, 2.3)}, False),
        ({"accuracy": {"min": 0.8}}, {}, {"accuracy": (0.7, 0.75, 0.79)}, True),
        ({"accuracy": {"min": 0.8}}, {}, {"accuracy": (0.7, 0.75, 0.81)}, False),
        ({"acc": {"may_worsen_by": "5%"}}, {"acc": 90.0}, {"accuracy": (0.8, 0.82, 0.84)}, True),
        ({"acc": {"may_worsen_by": "5%"}}, {"acc": 90.0}, {"accuracy": (0.8, 0.82, 0.86)}, False),
        # without [gate] 10 %, of what has a direction
        ({}, {"val_rmse": 1.0, "x": 1.0}, {"rmse": (1.11, 1.2, 1.3)}, True),
        ({}, {"val_rmse": 1.0, "x": 1.0}, {"rmse": (1.09, 1.2, 1.3)}, False),
        ({}, {"mse": 1.0}, {"rmse": (1.06, 1.2, 1.3)}, True),
        # better, or not measured
        ({}, {"rmse": 1.0}, {"rmse": (0.1, 0.2, 0.3)}, False),
        ({}, {"r2": 0.9}, {"r2": (0.95, 0.96, 0.97)}, False),
        ({}, {"r2": 0.9}, {"r2": (-2.0, -1.0, 0.5)}, True),
        ({}, {"pinball": 0.9}, {"mae": (5.0, 6.0, 7.0)}, False),
        ({}, {"rmse": 1.0}, {"rmse": 9.0}, False),
        # names with several definitions: under each of them
        ({}, {"SMAPE": 0.2}, {"smape": (0.3, 0.35, 0.4)}, False),
        ({}, {"SMAPE": 0.2}, {"smape": (0.5, 0.55, 0.6)}, True),
        ({}, {"SMAPE": 20.0}, {"smape": (0.3, 0.35, 0.4)}, False),
        ({}, {"SMAPE": 20.0}, {"smape": (0.5, 0.55, 0.6)}, True),
        ({}, {"f1": 0.9}, {"f1": (0.5, 0.6, 0.7), "f1_macro": (0.9, 0.92, 0.95)}, False),
        ({}, {"f1": 0.9}, {"f1": (0.5, 0.6, 0.7), "f1_macro": (0.5, 0.6, 0.7)}, True),
        # the repository's own code tells which one it is
        ({}, {"SMAPE": 0.2}, {"smape": (0.3, 0.35, 0.4), OWN_PREFIX + "SMAPE": 0.35}, True),
        ({}, {"SMAPE": 0.2}, {"smape": (0.5, 0.55, 0.6), OWN_PREFIX + "SMAPE": 0.1}, False),
        ({}, {"MAE": 1.0}, {"mae": (5.0, 6.0, 7.0), OWN_PREFIX + "MAE": 1.1}, False),
    ],
)
def test_only_a_whole_interval_beyond_a_rule_is_decay(
    gate: dict[str, Any], before: dict[str, float], measured: dict[str, Any], is_decay: bool
) -> None:
    status, reason = judge(gate, before, measured)
    assert status is (QualityStatus.DECAY if is_decay else QualityStatus.SAME)
    assert ("50.0% of those recorded" in reason) is is_decay


def test_the_reason_has_the_numbers() -> None:
    _, reason = judge({"MAE": {"may_worsen_by": "5%"}}, {"MAE": 2.0}, {"mae": (3.0, 3.5, 4.0)})
    assert reason == (
        "MAE 3.500 (3.000 to 4.000), release 7 had 2.000 at its gate (may worsen by 5%); "
        "on 500 rows with ground truth, 50.0% of those recorded"
    )


def test_rules_that_cannot_be_read_judge_nothing() -> None:
    rules = GateRules(7, None, {"MAE": 1.0})
    status, reason = judge_window(rules, {"mae": {"low": 5, "value": 6, "high": 7}}, 500, 1000)
    assert (status, "not on this machine" in reason) == (QualityStatus.SAME, True)


def find_alarms(windows: int, rows: int, error: float, tolerance: str, seed: int = 0) -> int:
    """Return how many windows of a world are decay, whose errors are as large as `error`, 1 before."""
    draw = np.random.default_rng([seed, rows])
    gate = {"MAE": {"may_worsen_by": tolerance}, "RMSE": {"may_worsen_by": tolerance}}
    before = {"MAE": float(np.sqrt(2 / np.pi)), "RMSE": 1.0}
    alarms = 0
    for window in range(windows):
        truth = draw.gamma(2, 5, rows)
        answers = truth + draw.normal(0, error, rows)
        of_calls = [
            AnsweredRow(str(place // 2), answer, value)
            for place, (answer, value) in enumerate(zip(answers.tolist(), truth.tolist(), strict=True))
        ]
        found = measure_release(MetricKind.REGRESSION, of_calls, window)
        rules = GateRules(7, Gate.model_validate(gate), before)
        alarms += judge_window(rules, found["metrics"], rows, rows)[0] is QualityStatus.DECAY
    return alarms


@pytest.mark.parametrize(("windows", "rows"), MATRIX)
@pytest.mark.parametrize(("tolerance", "most"), [("5%", 0.03), ("0%", 0.06)])
def test_windows_without_a_change_raise_few_alarms(
    windows: int, rows: int, tolerance: str, most: float, record_property: Callable[[str, object], None]
) -> None:
    alarms = find_alarms(windows, rows, 1.0, tolerance)
    record_property("alarms", alarms)
    # the share may be `most`: no more alarms than that gives with a probability of 0.1 %
    assert alarms <= stats.binom.ppf(0.999, windows, most)


@pytest.mark.parametrize("rows", [300, 1000])
def test_errors_that_grow_by_half_are_found(rows: int) -> None:
    assert find_alarms(50, rows, 1.5, "5%", seed=1) == 50
