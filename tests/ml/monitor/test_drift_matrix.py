"""Drift is found soon where something changed, and seldom where nothing did.

A share of the matrix runs in `make test`, all of it in `make soak`.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from ml.monitor.drift.findings import DriftStatus, WindowFinding
from ml.monitor.drift.judge import DriftJudge, next_suspicion
from tests.ml.monitor.worlds import CHANGED, Change, Features, World, make_judge, make_window

MAX_FALSE_ALARMS = 0.02
SEEDS = range(10)
SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
MANY = [pytest.param(seed, 1000, id=f"seed-{seed}", marks=SOAK) for seed in SEEDS]
FEW_OR_MANY = [pytest.param(1, 150, id="few"), *MANY]
BOTH_SIZES = [
    pytest.param(1, 150, 200, id="few"),
    *(
        pytest.param(seed, 1000, rows, id=f"seed-{seed}-{rows}", marks=SOAK)
        for seed in SEEDS
        for rows in (200, 1000)
    ),
]


def judge_in_a_row(
    judge: DriftJudge, windows: list[list[Features]], rows_in_call: int = 1
) -> list[WindowFinding]:
    suspicion: dict[str, float] = {}
    found = []
    for number, features in enumerate(windows):
        found.append(judge.judge(make_window(features, number, rows_in_call), suspicion))
        suspicion = next_suspicion(found[-1], suspicion)
    return found


def upper_bound(alarms: int, windows: int) -> float:
    """Return the upper 95 % bound of the rate (Clopper and Pearson)."""
    return float(stats.beta.ppf(0.95, alarms + 1, windows - alarms))


def check_alarms(found: list[WindowFinding], record: Callable[[str, object], None]) -> None:
    """Check the rate of windows that raise an alarm: two in a row do."""
    count = Counter(str(finding.status) for finding in found)
    record("statuses", dict(count))
    assert count[DriftStatus.TOO_FEW] == 0
    assert upper_bound(count[DriftStatus.DRIFT], len(found)) <= MAX_FALSE_ALARMS


@pytest.mark.parametrize(("seed", "windows", "rows"), BOTH_SIZES)
def test_windows_of_the_baseline_raise_few_alarms(
    seed: int, windows: int, rows: int, record_property: Callable[[str, object], None]
) -> None:
    judge, baseline = make_judge(seed)
    draw = np.random.default_rng([seed, rows])
    picked = [draw.choice(len(baseline), rows, replace=False) for _ in range(windows)]
    check_alarms(judge_in_a_row(judge, [[baseline[row] for row in one] for one in picked]), record_property)


@pytest.mark.parametrize(("seed", "windows", "rows"), BOTH_SIZES)
def test_new_rows_of_the_same_world_raise_few_alarms(
    seed: int, windows: int, rows: int, record_property: Callable[[str, object], None]
) -> None:
    judge, _ = make_judge(seed)
    world = World(np.random.default_rng([seed, rows, 1]))
    check_alarms(judge_in_a_row(judge, [world.rows(rows) for _ in range(windows)]), record_property)


@pytest.mark.parametrize(("seed", "windows"), MANY)
def test_a_small_baseline_raises_few_alarms(
    seed: int, windows: int, record_property: Callable[[str, object], None]
) -> None:
    judge, _ = make_judge(seed, rows=1000)
    world = World(np.random.default_rng([seed, 2]))
    check_alarms(judge_in_a_row(judge, [world.rows(1000) for _ in range(windows)]), record_property)


@pytest.mark.parametrize(("seed", "windows"), FEW_OR_MANY)
def test_equal_rows_in_one_call_raise_few_alarms(
    seed: int, windows: int, record_property: Callable[[str, object], None]
) -> None:
    """A thousand rows of which ten each are the same say as much as a hundred."""
    judge, _ = make_judge(seed)
    world = World(np.random.default_rng([seed, 3]))
    drawn = [[row for row in world.rows(100) for _ in range(10)] for _ in range(windows)]
    check_alarms(judge_in_a_row(judge, drawn, rows_in_call=10), record_property)


def find_change(judge: DriftJudge, change: Change, seed: int) -> bool:
    """Return whether one of four windows of 500 rows is found to be drift, in the column that changed."""
    world = World(np.random.default_rng([seed, 4]), change)
    found = judge_in_a_row(judge, [world.rows(500) for _ in range(4)])
    drifted = {one.name for finding in found for one in finding.columns if one.status is DriftStatus.DRIFT}
    return CHANGED[change] in drifted


@pytest.mark.parametrize("seeds", [4, pytest.param(100, marks=SOAK)])
def test_a_change_is_found_within_four_windows(
    seeds: int, record_property: Callable[[str, object], None]
) -> None:
    found: Counter[Change] = Counter()
    for seed in range(seeds):
        judge, _ = make_judge(seed)
        found.update(change for change in CHANGED if find_change(judge, change, seed))
    record_property("found", {str(change): count for change, count in found.items()})
    assert all(found[change] >= 0.95 * seeds for change in CHANGED), found
