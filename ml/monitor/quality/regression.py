"""Metrics of numbers: MAE, RMSE, SMAPE and R2."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn import metrics as sklearn_metrics

from ml.monitor.quality.bootstrap import Floats, Interval, bootstrap, number_clusters
from ml.monitor.quality.metrics import Metric, join_all

NAMES = ("mae", "rmse", "smape", "r2")
CONSTANT = "all true values are the same: R2 is undefined"
LEAST_VARIANCE = 1e-12  # of the largest square: less is the rounding of equal values


def measure_numbers(
    truth: Floats, answers: Floats, clusterings: Sequence[Sequence[object]], seed: int
) -> dict[str, Metric]:
    """Return the metrics of numbers; of several ways to form clusters of rows the widest interval counts."""
    sums = sum_terms(truth, answers)
    interval: Interval | None = None
    for names in clusterings:
        numbers, clusters = number_clusters(names)
        member = sparse.csr_matrix((np.ones(len(numbers)), (numbers, np.arange(len(numbers)))))
        totals = np.asarray(member @ sums)
        found = bootstrap(lambda weights, totals=totals: derive(weights @ totals), clusters, seed)  # type: ignore[misc]
        interval = found if interval is None else interval.widen(found)
    assert interval is not None
    is_constant = np.isnan(derive(sums.sum(axis=0, keepdims=True))[0, NAMES.index("r2")])
    values = score_numbers(truth, answers, is_constant=bool(is_constant))
    return join_all(values, interval, len(truth), {"r2": CONSTANT} if is_constant else {})


def score_numbers(truth: Floats, answers: Floats, *, is_constant: bool) -> dict[str, float]:
    """Return the metrics of these rows by scikit-learn, which has no SMAPE."""
    return {
        "mae": float(sklearn_metrics.mean_absolute_error(truth, answers)),
        "rmse": float(sklearn_metrics.root_mean_squared_error(truth, answers)),
        "smape": float(symmetric_errors(truth, answers).mean()),
        "r2": np.nan if is_constant else float(sklearn_metrics.r2_score(truth, answers)),
    }


def symmetric_errors(truth: Floats, answers: Floats) -> Floats:
    """Return the parts of SMAPE, each from 0 to 2: the error over the mean size; 0 where both are 0."""
    size = (np.abs(truth) + np.abs(answers)) / 2
    error = np.abs(truth - answers)
    return np.divide(error, size, out=np.zeros_like(error), where=size > 0)


def sum_terms(truth: Floats, answers: Floats) -> Floats:
    """Return the terms whose sums make up every metric, a row each; centred, so that squares lose little."""
    error, centred = truth - answers, truth - truth.mean()
    terms = (np.ones_like(error), np.abs(error), error**2, symmetric_errors(truth, answers))
    return np.column_stack([*terms, centred, centred**2])


def derive(sums: Floats) -> Floats:
    """Return the metrics of rows with these sums of terms."""
    count, absolute, squared, symmetric, total, squares = sums.T
    variance = squares - total**2 / count
    is_varied = variance > LEAST_VARIANCE * squares
    r2 = 1 - np.divide(squared, variance, out=np.full_like(variance, np.nan), where=is_varied)
    return np.column_stack([absolute / count, np.sqrt(squared / count), symmetric / count, r2])
