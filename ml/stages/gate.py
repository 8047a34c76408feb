"""Gate: does the release deserve the place?"""

import math

from ml.errors import Rejected


def judge(metrics: dict[str, float]) -> None:
    """Pass, or raise `Rejected`: evaluate has to have given at least one number, and finite ones alone."""
    for name, value in metrics.items():
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise Rejected(f"{name} is {value}: a metric is a finite number")
    if not metrics:
        raise Rejected("evaluate() gave no metric: without a number nothing can be judged")
