"""Metrics equal those of scikit-learn, and their bootstrap as well; hostile values leave them finite."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from ml.monitor.quality import classification, regression
from ml.monitor.quality.answers import parse_class
from ml.monitor.quality.auc import weigh_pairs
from ml.monitor.quality.bootstrap import draw_weights
from ml.monitor.quality.process import MIN_CALLS, MIN_ROWS, measure_release
from ml.monitor.quality.request import AnsweredRow, MetricKind

RANDOM = np.random.default_rng(5)
CALLS = np.repeat(np.arange(40), 3)
WEIGHTS = next(draw_weights(40, 0))[:20]


def measure(kind: MetricKind, pairs: list[tuple[Any, Any]], ats: list[str] | None = None) -> dict[str, Any]:
    """Return what is measured of answers with their truths, two rows a call."""
    rows = [
        AnsweredRow(f"call {number // 2}", answer, truth, ats[number] if ats else None)
        for number, (answer, truth) in enumerate(pairs)
    ]
    answer = measure_release(kind, rows, 0)
    json.dumps(answer, allow_nan=False)
    for metric in answer["metrics"].values():
        assert (metric["value"] is None) <= bool(metric["reason"])
        if metric["low"] is not None:
            assert metric["low"] <= metric["value"] <= metric["high"]
    return answer


def test_metrics_of_numbers_equal_those_of_scikit_learn() -> None:
    truth, answers = RANDOM.normal(5, 2, 120), RANDOM.normal(5, 2, 120)
    found = measure(MetricKind.REGRESSION, list(zip(answers.tolist(), truth.tolist(), strict=True)))[
        "metrics"
    ]
    assert found["mae"]["value"] == sklearn_metrics.mean_absolute_error(truth, answers)
    assert found["rmse"]["value"] == sklearn_metrics.root_mean_squared_error(truth, answers)
    assert found["r2"]["value"] == sklearn_metrics.r2_score(truth, answers)
    both = np.abs(truth) + np.abs(answers)
    assert found["smape"]["value"] == pytest.approx(np.mean(2 * np.abs(truth - answers) / both))


def test_draws_of_numbers_equal_weights_in_scikit_learn() -> None:
    truth, answers = RANDOM.normal(5, 2, 120), RANDOM.normal(5, 2, 120)
    totals = np.array([regression.sum_terms(truth, answers)[call == CALLS].sum(axis=0) for call in range(40)])
    for derived, weights in zip(regression.derive(WEIGHTS @ totals), WEIGHTS[:, CALLS], strict=True):
        expected = [
            sklearn_metrics.mean_absolute_error(truth, answers, sample_weight=weights),
            sklearn_metrics.root_mean_squared_error(truth, answers, sample_weight=weights),
            np.average(regression.symmetric_errors(truth, answers), weights=weights),
            sklearn_metrics.r2_score(truth, answers, sample_weight=weights),
        ]
        assert derived == pytest.approx(expected)


def test_draws_of_labels_equal_weights_in_scikit_learn() -> None:
    truth, answers = RANDOM.integers(0, 4, 120), RANDOM.integers(0, 4, 120)
    counts = classification.count_classes(truth, answers, CALLS, 4)
    for derived, weights in zip(
        classification.derive(WEIGHTS, counts, 1), WEIGHTS[:, CALLS].astype(int), strict=True
    ):
        drawn, answered = np.repeat(truth, weights), np.repeat(answers, weights)
        expected = [
            sklearn_metrics.accuracy_score(drawn, answered),
            sklearn_metrics.f1_score(drawn, answered, average="macro"),
            sklearn_metrics.f1_score(drawn == 1, answered == 1),
        ]
        assert derived == pytest.approx(expected)


def test_draws_of_scores_equal_weights_in_scikit_learn() -> None:
    positive, scores = RANDOM.random(120) < 0.3, RANDOM.integers(0, 20, 120) / 20  # with ties
    order = np.argsort(scores, kind="stable")
    begins = np.unique(scores[order], return_index=True)[1]
    derived = weigh_pairs(WEIGHTS[:, CALLS][:, order], positive[order], begins)
    expected = [
        sklearn_metrics.roc_auc_score(positive, scores, sample_weight=weights)
        for weights in WEIGHTS[:, CALLS]
    ]
    assert derived == pytest.approx(expected)


def test_metrics_of_classes_equal_those_of_scikit_learn() -> None:
    scores = RANDOM.random(120)
    truth = (RANDOM.random(120) < scores).astype(int)
    pairs = [({"0": 1 - s, "1": s}, t) for s, t in zip(scores.tolist(), truth.tolist(), strict=True)]
    found = measure(MetricKind.CLASSIFICATION, pairs)["metrics"]
    labels = scores > 0.5
    assert found["accuracy"]["value"] == sklearn_metrics.accuracy_score(truth, labels)
    assert found["f1"]["value"] == sklearn_metrics.f1_score(truth, labels)
    assert found["f1_macro"]["value"] == sklearn_metrics.f1_score(truth, labels, average="macro")
    assert found["log_loss"]["value"] == pytest.approx(sklearn_metrics.log_loss(truth, scores))
    assert found["auc"]["value"] == sklearn_metrics.roc_auc_score(truth, scores)


def test_log_loss_of_three_classes_is_that_of_scikit_learn() -> None:
    shares = RANDOM.dirichlet([1, 1, 1], 120)
    truth = [("a", "b", "c")[number] for number in RANDOM.integers(0, 3, 120)]
    pairs = [
        (dict(zip("abc", row, strict=True)), label) for row, label in zip(shares.tolist(), truth, strict=True)
    ]
    found = measure(MetricKind.CLASSIFICATION, pairs)["metrics"]
    assert found["log_loss"]["value"] == pytest.approx(sklearn_metrics.log_loss(truth, shares))
    assert "auc" not in found
    assert "f1" not in found


@pytest.mark.parametrize("kind", [MetricKind.REGRESSION, MetricKind.CLASSIFICATION])
@pytest.mark.parametrize("pairs", [[(1.0, 2.0)] * (MIN_ROWS - 1), [(1.0, 2.0)] * 2 * (MIN_CALLS - 1), []])
def test_too_few_rows_or_calls_are_not_measured(kind: MetricKind, pairs: list[tuple[Any, Any]]) -> None:
    found = measure(kind, pairs)
    assert found["metrics"] == {}
    assert found["reason"].startswith("too few: ")


def test_a_constant_truth_has_no_r2_but_the_rest() -> None:
    found = measure(MetricKind.REGRESSION, [(float(n), 0.1) for n in range(60)])["metrics"]
    assert found["r2"]["value"] is None
    assert "the same" in found["r2"]["reason"]
    assert found["mae"]["value"] > 0


def test_truth_of_a_single_class_has_no_auc_but_the_rest() -> None:
    found = measure(MetricKind.CLASSIFICATION, [({"0": 0.4, "1": 0.6}, 1)] * 60)["metrics"]
    assert found["auc"]["value"] is None
    assert "one class" in found["auc"]["reason"]
    assert found["accuracy"]["value"] == 1


def test_a_label_that_was_never_seen_is_wrong() -> None:
    pairs: list[tuple[Any, Any]] = [({"0": 0.4, "1": 0.6}, 1)] * 60 + [({"0": 0.4, "1": 0.6}, "new")] * 20
    found = measure(MetricKind.CLASSIFICATION, pairs)["metrics"]
    assert found["accuracy"]["value"] == 0.75
    assert 9 < found["log_loss"]["value"] < 10  # a quarter of -log of the smallest probability


def test_what_is_no_answer_is_wrong_for_a_classifier() -> None:
    pairs: list[tuple[Any, Any]] = [("a", "a")] * 60 + [(None, "a")] * 10 + [([["a"], "b"], "a")] * 10
    assert measure(MetricKind.CLASSIFICATION, pairs)["metrics"]["accuracy"]["value"] == 0.75


def test_what_is_no_number_is_left_out_and_counted() -> None:
    pairs: list[tuple[Any, Any]] = [(1.0, 2.0)] * 60 + [("x", 1.0), (math.nan, 1.0), (True, 1.0), (None, 1.0)]
    found = measure(MetricKind.REGRESSION, pairs)
    assert (found["rows"], found["usable"]) == (64, 60)


def test_huge_numbers_leave_metrics_finite() -> None:
    huge = [math.inf, -math.inf, 2**70, 10**400, -(10**400), 1e308, 5e-324]
    found = measure(MetricKind.REGRESSION, [(n, -m) for n in huge for m in huge] + [(1.0, 2.0)] * 20)[
        "metrics"
    ]
    assert all(metric["value"] is not None for metric in found.values())


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["2026-01-01", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00+14:00", "a", "1", "True"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["label", "probabilities", "ds", "yhat", "1", "0"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(list(MetricKind)), st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=10, max_size=30)
)
def test_hostile_values_never_crash(kind: MetricKind, values: list[tuple[Any, Any, Any]]) -> None:
    rows = [
        AnsweredRow(f"{place}", answer, truth, at if isinstance(at, str) else None)
        for place, (answer, truth, at) in enumerate(values * 6)
    ]
    json.dumps(measure_release(kind, rows, 0), allow_nan=False)


DAYS = [f"2026-03-{day:02d}" for day in range(1, 21)]


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ([[day, 10.0] for day in DAYS], [[day, 12.0] for day in DAYS]),
        ([[day, 10.0, 9.0, 11.0] for day in DAYS], dict.fromkeys(DAYS, 12.0)),
        (
            [{"ds": day + "T00:00:00", "yhat": 10.0} for day in DAYS],
            [[day, 12.0] for day in [*DAYS, "2030-01-01"]],
        ),
    ],
)
def test_a_forecast_is_compared_date_by_date(answer: Any, truth: Any) -> None:
    found = measure(MetricKind.TIME_SERIES, [(answer, truth)] * 3)
    assert found["metrics"]["mae"] == {"value": 2, "low": 2, "high": 2, "rows": 60, "reason": None}


def test_a_single_true_value_belongs_to_its_date() -> None:
    forecast = [[day, float(number)] for number, day in enumerate(DAYS)]
    pairs = [(forecast, 10.0 + number) for number in range(len(DAYS))] * 3
    found = measure(MetricKind.TIME_SERIES, pairs, [f"{day}T13:00:00+00:00" for day in DAYS] * 3)
    assert found["usable"] == 60
    assert found["metrics"]["mae"]["value"] == 10


def test_a_forecast_without_its_truths_date_is_left_out() -> None:
    forecast = [[day, 1.0] for day in DAYS]
    found = measure(
        MetricKind.TIME_SERIES, [(forecast, 1.0), (forecast, [["2031-01-01", 1.0]]), ("x", 1.0)] * 30
    )
    assert (found["rows"], found["usable"], found["metrics"]) == (90, 0, {})


def test_forecasts_of_the_same_dates_are_not_counted_as_many() -> None:
    errors = RANDOM.normal(0, 1, len(DAYS))
    forecast = [[day, 0.0] for day in DAYS]
    truth = [[day, error] for day, error in zip(DAYS, errors.tolist(), strict=True)]
    few = measure(MetricKind.TIME_SERIES, [(forecast, truth)] * 3)["metrics"]["mae"]
    many = measure(MetricKind.TIME_SERIES, [(forecast, truth)] * 300)["metrics"]["mae"]
    assert many["high"] - many["low"] == pytest.approx(few["high"] - few["low"])


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (1, "1"),
        (1.0, "1"),
        ("1", "1"),
        ("1.0", "1"),
        ("007", "007"),
        (True, "true"),
        ([2], "2"),
        ("", ""),
        ({"label": "cat"}, "cat"),
        ({"label": "dog", "probabilities": {"cat": 0.6, "dog": 0.4}}, "dog"),
        ({"cat": 0.6, "dog": 0.4}, "cat"),
        ({"probabilities": {"cat": 0.2, "dog": 0.8}}, "dog"),
        ([0.1, 0.9], "1"),
        ({"class": 0.6, "value": 0.4}, "class"),
        ({"cat": 0.6, "dog": 0.6}, None),
        (None, None),
        (math.nan, None),
        ([1, 2], None),
    ],
)
def test_answers_of_classifiers_are_understood(answer: Any, label: str | None) -> None:
    assert parse_class(answer).label == label


def test_the_same_rows_have_the_same_interval() -> None:
    pairs = [(float(answer), float(truth)) for answer, truth in RANDOM.normal(0, 1, (60, 2))]
    assert measure(MetricKind.REGRESSION, [*pairs]) == measure(MetricKind.REGRESSION, [*pairs])
