"""Metrics of classes: accuracy, F1, and with probabilities log loss and the AUC of two classes."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse
from sklearn import metrics as sklearn_metrics

from ml.monitor.quality.answers import ClassAnswer
from ml.monitor.quality.auc import measure_auc
from ml.monitor.quality.bootstrap import Floats, Ints, bootstrap, number_clusters
from ml.monitor.quality.metrics import Metric, join_interval, undefined

NO_ANSWER = "\0"  # the label of what is no answer: it is never right
MAX_CLASSES = 1000
POSITIVE = ("1", "true")  # of two classes, the one that F1 is about
NEGATIVE = ("0", "-1", "false")


def measure_classes(
    truth: Sequence[str], answers: Sequence[ClassAnswer], calls: Sequence[str], seed: int
) -> dict[str, Metric]:
    """Return the metrics of labels, and those of probabilities where answers have them."""
    found = measure_labels(
        truth, [NO_ANSWER if answer.label is None else answer.label for answer in answers], calls, seed
    )
    return found | measure_probabilities(truth, answers, calls, seed)


def measure_labels(
    truth: Sequence[str], labels: Sequence[str], calls: Sequence[str], seed: int
) -> dict[str, Metric]:
    codes = {label: code for code, label in enumerate(sorted({*truth, *labels}))}
    if len(codes) > MAX_CLASSES:
        text = f"there are more than {MAX_CLASSES:,} classes: is it a regression?"
        return {name: undefined(text, len(truth)) for name in ("accuracy", "f1_macro")}
    numbers, clusters = number_clusters(calls)
    true_codes = np.array([codes[label] for label in truth])
    answered = np.array([codes[label] for label in labels])
    positive = find_positive(codes)
    counts = count_classes(true_codes, answered, numbers, len(codes))
    interval = bootstrap(lambda weights: derive(weights, counts, positive), clusters, seed)
    values = {
        "accuracy": float(sklearn_metrics.accuracy_score(true_codes, answered)),
        "f1_macro": float(sklearn_metrics.f1_score(true_codes, answered, average="macro", zero_division=0)),
    }
    if positive is not None:
        values["f1"] = float(
            sklearn_metrics.f1_score(true_codes == positive, answered == positive, zero_division=0)
        )
    return {
        name: join_interval(value, interval, place, len(truth))
        for place, (name, value) in enumerate(values.items())
    }


def find_positive(codes: Mapping[str, int]) -> int | None:
    """Return the code of the positive class, where two classes name one."""
    labels = codes.keys() - {NO_ANSWER}
    if len(labels) > 2:
        return None
    positive = [label for label in labels if label in POSITIVE]
    is_named = len(positive) == 1 and all(label in NEGATIVE for label in labels - {*positive})
    return codes[positive[0]] if is_named else None


def count_classes(truth: Ints, answered: Ints, calls: Ints, classes: int) -> list[sparse.csr_matrix]:
    """Return of each call and class how often it was right, answered, and true."""
    is_right = truth == answered
    shape = (int(calls.max()) + 1, classes)
    return [
        sparse.csr_matrix((np.ones(len(codes)), (rows, codes)), shape=shape)
        for rows, codes in ((calls[is_right], truth[is_right]), (calls, answered), (calls, truth))
    ]


def derive(weights: Floats, counts: Sequence[sparse.csr_matrix], positive: int | None) -> Floats:
    """Return accuracy, macro F1 and, with a positive class, its F1 for calls with these weights."""
    right, answered, true = (np.asarray((count.T @ weights.T).T) for count in counts)
    both = answered + true
    f1 = np.divide(2 * right, both, out=np.zeros_like(right), where=both > 0)
    accuracy = right.sum(axis=1) / true.sum(axis=1)
    macro = f1.sum(axis=1) / (both > 0).sum(axis=1)  # a class that a draw leaves out does not count
    return np.column_stack([accuracy, macro, *([] if positive is None else [f1[:, positive]])])


def measure_probabilities(
    truth: Sequence[str], answers: Sequence[ClassAnswer], calls: Sequence[str], seed: int
) -> dict[str, Metric]:
    rows = [
        (label, answer.probabilities, call)
        for label, answer, call in zip(truth, answers, calls, strict=True)
        if answer.probabilities is not None
    ]
    if not rows:
        return {}
    labels, probabilities, kept_calls = zip(*rows, strict=True)
    numbers, clusters = number_clusters(kept_calls)
    found = {"log_loss": measure_log_loss(labels, probabilities, numbers, clusters, seed)}
    classes = sorted({*labels, *(name for shares in probabilities for name in shares)})
    if len(classes) == 2:
        scores = np.array([shares.get(classes[1], 0.0) for shares in probabilities])
        is_positive = np.array([label == classes[1] for label in labels])
        found["auc"] = measure_auc(is_positive, scores, numbers, clusters, seed)
    return found


def measure_log_loss(
    truth: Sequence[str],
    probabilities: Sequence[Mapping[str, float]],
    calls: Ints,
    clusters: int,
    seed: int,
) -> Metric:
    """Return the log loss; a class that an answer does not have had the probability 0."""
    shares = np.array(
        [one.get(label, 0.0) / sum(one.values()) for one, label in zip(probabilities, truth, strict=True)]
    )
    value = float(sklearn_metrics.log_loss(np.ones(len(shares)), shares, labels=[0, 1]))
    least = np.finfo(float).eps
    losses = -np.log(np.clip(shares, least, 1 - least))
    totals = np.column_stack([np.bincount(calls, losses, clusters), np.bincount(calls, minlength=clusters)])

    def derive_mean(weights: Floats) -> Floats:
        sums = weights @ totals
        return sums[:, :1] / sums[:, 1:]

    return join_interval(value, bootstrap(derive_mean, clusters, seed), 0, len(shares))
