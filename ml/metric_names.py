"""The names of metrics: which direction is better, as far as a name indicates it, and who measured it."""

import re
from typing import Literal

Direction = Literal["lower", "higher"]
OWN_PREFIX = "evaluate() "  # of a metric that the repository's own evaluate gave on recorded rows


def split_words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.lower()))


HIGHER_WORDS = split_words("""
    accuracy acc precision recall sensitivity specificity f1 fbeta auc auroc auprc roc r2 ndcg dcg
    jaccard iou dice kappa mcc corrcoef likelihood silhouette homogeneity completeness explained
    fowlkes calinski
""")
LOWER_WORDS = split_words("""
    mae mse rmse mape smape wape wmape mase msle rmsle rmsse mdae mdape crps loss losses logloss nll
    error errors err wer cer deviance brier pinball hinge davies
""")
# with one of these words, a name describes how a metric changed or spread, or its opposite
UNCLEAR_WORDS = split_words("""
    improvement improved skill drop gain reduction reduced decrease increase change delta diff
    difference gap std stddev variance inverse inverted minus negative complement
""")
# names of scikit-learn whose words alone would mislead
KNOWN_METRICS: dict[str, Direction] = {
    "explained_variance": "higher",
    "explained_variance_score": "higher",
    "d2_absolute_error_score": "higher",
    "d2_pinball_score": "higher",
    "d2_tweedie_score": "higher",
    "d2_log_loss_score": "higher",
    "d2_brier_score": "higher",
    "negative_log_likelihood": "lower",
}
OPPOSITE_DIRECTION: dict[Direction, Direction] = {"lower": "higher", "higher": "lower"}


def find_direction(name: str) -> Direction | None:
    """Return which way is better: `val_RMSE` lower, `neg_log_loss` higher; None where that is not clear."""
    if re.match(r"\s*1\s*[-\u2212]", name):  # 1 - accuracy
        return None
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    if not words:
        return None
    better = KNOWN_METRICS.get("_".join(words)) or judge_words(set(words))
    if re.match(r"\s*[-\u2212]", name):
        return better and OPPOSITE_DIRECTION[better]
    if words[0] == "neg":  # scikit-learn prefixes only errors: neg_recall is the recall of a class
        return "higher" if better == "lower" else None
    return better


def judge_words(words: set[str]) -> Direction | None:
    is_lower, is_higher = bool(words & LOWER_WORDS), bool(words & HIGHER_WORDS)
    if words & UNCLEAR_WORDS or is_lower == is_higher:
        return None
    return "lower" if is_lower else "higher"
