"""Intervals contain the true value of a metric about as often as they promise.

A share of the matrix runs in `make test`, all of it in `make soak`.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy import stats

from ml.monitor.quality.process import measure_release
from ml.monitor.quality.request import AnsweredRow, MetricKind

SOAK = [pytest.mark.soak, pytest.mark.timeout(3600)]
MATRIX = [
    pytest.param(60, 1, 100, id="few"),
    pytest.param(100, 5, 100, id="few-in-calls"),
    *(
        pytest.param(calls, rows, 1000, id=f"{calls}-calls-of-{rows}", marks=SOAK)
        for calls in (20, 60, 300)
        for rows in (1, 3, 20)
        if calls * rows >= 50
    ),
]
# of 95 %: the least that the true share of intervals which contain the value may be, by the number of calls
LEAST = {20: 0.88, 60: 0.91, 100: 0.91, 300: 0.925}
LESS = {"rmse": 0.04, "r2": 0.03}  # of skewed errors: a few large ones decide
POPULATION = 20_000  # calls

World = tuple[np.ndarray, np.ndarray]  # answers, truth: a row for each call


def regression_world(draw: np.random.Generator, calls: int, rows: int) -> World:
    """Return skewed values with errors of which half is common to a call."""
    truth = draw.gamma(2, 2, (calls, rows))
    errors = draw.normal(0, 1, (calls, 1)) + draw.normal(0, 1, (calls, rows))
    return truth + errors * (1 + truth / 4), truth


def class_world(draw: np.random.Generator, calls: int, rows: int) -> World:
    """Return probabilities of class 1 that are right on average, and alike within a call."""
    logit = draw.normal(-0.5, 1, (calls, 1)) + draw.normal(0, 1, (calls, rows))
    shares = 1 / (1 + np.exp(-logit))
    return shares, (draw.random((calls, rows)) < shares).astype(int)


WORLDS: dict[MetricKind, Callable[[np.random.Generator, int, int], World]] = {
    MetricKind.REGRESSION: regression_world,
    MetricKind.CLASSIFICATION: class_world,
}


def measure(kind: MetricKind, world: World, seed: int = 0) -> dict[str, dict[str, float]]:
    answers, truth = world
    rows = [
        AnsweredRow(
            str(call), answer if kind is MetricKind.REGRESSION else {"0": 1 - answer, "1": answer}, value
        )
        for call, (of_call, true) in enumerate(zip(answers.tolist(), truth.tolist(), strict=True))
        for answer, value in zip(of_call, true, strict=True)
    ]
    found: dict[str, dict[str, float]] = measure_release(kind, rows, seed)["metrics"]
    return found


@cache
def true_values(kind: MetricKind, rows: int) -> dict[str, float]:
    draw = np.random.default_rng(99)
    found = [measure(kind, WORLDS[kind](draw, POPULATION // 10, rows)) for _ in range(10)]
    return {name: float(np.mean([one[name]["value"] for one in found])) for name in found[0]}


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize(("calls", "rows", "seeds"), MATRIX)
def test_intervals_contain_the_true_value(
    kind: MetricKind, calls: int, rows: int, seeds: int, record_property: Callable[[str, object], None]
) -> None:
    expected = true_values(kind, rows)
    hits = dict.fromkeys(expected, 0)
    for seed in range(seeds):
        world = WORLDS[kind](np.random.default_rng([seed, calls, rows]), calls, rows)
        found = measure(kind, world, seed)
        for name, value in expected.items():
            hits[name] += found[name]["low"] <= value <= found[name]["high"]
    record_property("hits", hits)
    for name, count in hits.items():
        # the share may be that of LEAST: no fewer hits than that gives with a probability of 0.1 %
        assert count >= stats.binom.ppf(0.001, seeds, LEAST[calls] - LESS.get(name, 0)), (name, hits)
        if calls >= 60:  # nor are they so wide that they say nothing
            assert count <= stats.binom.ppf(0.999, seeds, 0.985), (name, hits)


def test_rows_of_one_call_make_an_interval_wider() -> None:
    draw = np.random.default_rng(3)
    answers, truth = regression_world(draw, 50, 20)
    of_calls = measure(MetricKind.REGRESSION, (answers, truth))["mae"]
    of_rows = measure(MetricKind.REGRESSION, (answers.reshape(-1, 1), truth.reshape(-1, 1)))["mae"]
    assert of_calls["value"] == pytest.approx(of_rows["value"])
    assert of_calls["high"] - of_calls["low"] > 1.5 * (of_rows["high"] - of_rows["low"])
