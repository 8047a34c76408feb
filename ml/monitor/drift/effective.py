"""The effective number of rows: rows of one call resemble each other, and then count as fewer."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def effective_rows(scores: Floats, calls: Ints) -> float:
    """Return how many independent rows have a mean as precise as that of these rows, drawn in calls.

    `scores` has a row for each row and one column or more, `calls` the number of each row's call. It is the
    variance of the mean of independent rows over that of a cluster sample (the design effect).
    """
    rows = len(scores)
    counts = np.bincount(calls)
    clusters = np.count_nonzero(counts)
    if rows == clusters or clusters < 2:
        return float(rows)
    centred = scores - scores.mean(axis=0)
    independent = (centred**2).sum() / (rows - 1) / rows
    totals = np.zeros((len(counts), centred.shape[1]))
    np.add.at(totals, calls, centred)
    clustered = (totals**2).sum() / rows**2 * clusters / (clusters - 1)
    if not independent:  # all are the same: nothing shows how alike the rows of a call are
        return float(clusters)
    return float(rows * min(1.0, independent / clustered)) if clustered else float(rows)


def one_hot(codes: Ints, width: int) -> Floats:
    return np.asarray(codes[:, None] == np.arange(width)[None, :], dtype=float)


def ranks(numbers: Floats) -> Floats:
    """Return the ranks of numbers as a column of scores: outliers weigh no more than others."""
    _, inverse = np.unique(numbers, return_inverse=True)
    return np.asarray(inverse, dtype=float).reshape(-1, 1)
