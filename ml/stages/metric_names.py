"""Which way a metric is better, as far as the words of its name say it."""

import re
from typing import Literal

Better = Literal["lower", "higher"]


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.lower()))


HIGHER = words_of("""
    accuracy acc precision recall sensitivity specificity f1 fbeta auc auroc auprc roc r2 ndcg dcg
    jaccard iou dice kappa mcc corrcoef likelihood silhouette homogeneity completeness explained
    fowlkes calinski
""")
LOWER = words_of("""
    mae mse rmse mape smape wape wmape mase msle rmsle rmsse mdae mdape crps loss losses logloss nll
    error errors err wer cer deviance brier pinball hinge davies
""")
# beside one of these, a name is of how a metric changed or spread, or of its opposite
UNCLEAR = words_of("""
    improvement improved skill drop gain reduction reduced decrease increase change delta diff
    difference gap std stddev variance inverse inverted minus negative complement
""")
# of scikit-learn, where the words alone say another thing
KNOWN: dict[str, Better] = {
    "explained_variance": "higher",
    "explained_variance_score": "higher",
    "d2_absolute_error_score": "higher",
    "d2_pinball_score": "higher",
    "d2_tweedie_score": "higher",
    "d2_log_loss_score": "higher",
    "d2_brier_score": "higher",
    "negative_log_likelihood": "lower",
}
OPPOSITE: dict[Better, Better] = {"lower": "higher", "higher": "lower"}


def direction(name: str) -> Better | None:
    """Return which way is better: `val_RMSE` lower, `neg_log_loss` higher; None where that is not clear."""
    if re.match(r"\s*1\s*[-\u2212]", name):  # 1 - accuracy
        return None
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    if not words:
        return None
    better = KNOWN.get("_".join(words)) or of_words(set(words))
    if re.match(r"\s*[-\u2212]", name):
        return better and OPPOSITE[better]
    if words[0] == "neg":  # as scikit-learn has it, of errors alone: neg_recall is that of a class
        return "higher" if better == "lower" else None
    return better


def of_words(words: set[str]) -> Better | None:
    is_lower, is_higher = bool(words & LOWER), bool(words & HIGHER)
    if words & UNCLEAR or is_lower == is_higher:
        return None
    return "lower" if is_lower else "higher"
