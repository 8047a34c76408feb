"""The area under the ROC curve of two classes, with an interval."""

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from ml.monitor.quality.bootstrap import Floats, Ints, bootstrap
from ml.monitor.quality.metrics import Metric, join_interval, undefined

ONE_CLASS = "all true values are of one class: the AUC is undefined"
MAX_CELLS = 2_000_000  # of rows times draws at once


def measure_auc(
    is_positive: NDArray[np.bool_], scores: Floats, calls: Ints, clusters: int, seed: int
) -> Metric:
    """Return the AUC; `scores` are the probabilities of the positive class."""
    if is_positive.all() or not is_positive.any():
        return undefined(ONE_CLASS, len(scores))
    value = float(sklearn_metrics.roc_auc_score(is_positive, scores))
    order = np.argsort(scores, kind="stable")
    _, begins = np.unique(scores[order], return_index=True)
    positive, call = is_positive[order], calls[order]

    def derive(weights: Floats) -> Floats:
        step = max(1, MAX_CELLS // len(call))
        parts = [weights[begin : begin + step] for begin in range(0, len(weights), step)]
        return np.concatenate([weigh_pairs(part[:, call], positive, begins) for part in parts])[:, None]

    return join_interval(value, bootstrap(derive, clusters, seed), 0, len(scores))


def weigh_pairs(weights: Floats, positive: NDArray[np.bool_], begins: Ints) -> Floats:
    """Return in each draw the share of pairs in which the positive row has the higher score; ties are half.

    Rows are in the order of their scores, `begins` is where each score begins.
    """
    of_positive = np.add.reduceat(weights * positive, begins, axis=1)
    of_negative = np.add.reduceat(weights * ~positive, begins, axis=1)
    below = np.cumsum(of_negative, axis=1) - of_negative
    pairs = of_positive.sum(axis=1) * of_negative.sum(axis=1)
    wins = (of_positive * (below + of_negative / 2)).sum(axis=1)
    return np.asarray(np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0))
