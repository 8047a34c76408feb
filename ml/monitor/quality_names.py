"""Which of Slipway's own metrics a repository means by the name of one of its own."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# words that a name may have besides its metric's
IGNORED_WORDS = {"val", "validation", "test", "eval", "holdout", "score", "value"}
SAME_SHARE = 0.05  # of a value: closer than that, two definitions are the same; one may be of fewer rows


def same(value: float) -> float:
    return value


def squared(value: float) -> float:
    return value * value


def hundredfold(value: float) -> float:
    return 100 * value


def halved(value: float) -> float:
    return value / 2


def fiftyfold(value: float) -> float:
    return 50 * value


@dataclass(frozen=True)
class Definition:
    """One of our metrics, and how the repository's value follows from it: the larger from the larger."""

    name: str
    convert: Callable[[float], float] = same


# the name of the field → what may be meant
DEFINITIONS: Mapping[str, Sequence[Definition]] = {
    "mae": [Definition("mae")],
    "mean_absolute_error": [Definition("mae")],
    "rmse": [Definition("rmse")],
    "root_mean_squared_error": [Definition("rmse")],
    "mse": [Definition("rmse", squared)],
    "mean_squared_error": [Definition("rmse", squared)],
    # from 0 to 2, 1, 200 or 100
    "smape": [Definition("smape", f) for f in (same, halved, hundredfold, fiftyfold)],
    "r2": [Definition("r2")],
    "r_squared": [Definition("r2")],
    "accuracy": [Definition("accuracy"), Definition("accuracy", hundredfold)],
    "acc": [Definition("accuracy"), Definition("accuracy", hundredfold)],
    "f1": [Definition("f1"), Definition("f1_macro")],
    "f1_macro": [Definition("f1_macro")],
    "macro_f1": [Definition("f1_macro")],
    "log_loss": [Definition("log_loss")],
    "logloss": [Definition("log_loss")],
    "auc": [Definition("auc")],
    "roc_auc": [Definition("auc")],
    "auroc": [Definition("auc")],
}
# the largest value of a metric in a definition; a larger one has another
LARGEST: Mapping[tuple[str, Callable[[float], float]], float] = {
    ("smape", same): 2.0,
    ("smape", halved): 1.0,
    ("smape", hundredfold): 200.0,
    ("smape", fiftyfold): 100.0,
    ("accuracy", same): 1.0,
    ("accuracy", hundredfold): 100.0,
}
PERCENT = {hundredfold, fiftyfold}


def find_definitions(name: str, value: float | None) -> list[Definition]:
    """Return what a metric may be that has this value at the gate; none where the name tells nothing.

    A value above the range of a share is a percentage, one below it is none.
    """
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    meant = "_".join(word for word in words if word not in IGNORED_WORDS)
    definitions = DEFINITIONS.get(meant, ())
    return [one for one in definitions if value is None or can_be(one, value)]


def can_be(definition: Definition, value: float) -> bool:
    largest = LARGEST.get((definition.name, definition.convert))
    if definition.convert in PERCENT and value <= LARGEST[definition.name, same]:
        return False
    return largest is None or value <= largest


def are_same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME_SHARE * max(abs(one), abs(other))
