"""The scores of a trained model on test data, and its own description."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import RejectedError
from ml.builder import finite_numbers, stored_result
from ml.model_host import bounds
from ml.runtime import invoke
from ml.runtime.materialize import RunnableRelease
from ml.sources.datasets import DataSet


@dataclass(frozen=True)
class ModelScores:
    metrics: dict[str, float]  # finite, at least one
    info: dict[str, Any]
    rows: list[Any] | None = None  # rows to try a prediction with; None: the model provides its own
    typed: bool = False  # whether the type of the features provides an example, which is then tried
    history: bool = False  # whether the model can return the values before its forecasts
    features: list[str] | None = None  # their names, where they have names


def score_release(
    release: RunnableRelease, data: DataSet, *, output: Path, log: Path, timeout: float
) -> ModelScores:
    """Score the release once and store the result in `output`.

    Raises `RejectedError` with what the model did wrong.
    """

    def evaluate(folder: Path) -> dict[str, Any]:
        # a row of it would be shown to whoever may open the page
        request = release.to_request() | {"data": data.to_request(), "has_rows": data.recorded is None}
        return check_result(
            invoke.invoke(
                "evaluate", request, runtime=release.runtime, folder=folder, log=log, timeout=timeout
            )
        )

    return ModelScores(**stored_result.load_or_make(output, "scored.json", evaluate))


def check_result(result: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `ModelScores`; raises `RejectedError` where the model wrote something else."""
    metrics, info, rows = result.get("metrics"), result.get("info"), result.get("rows")
    if not isinstance(metrics, dict) or not isinstance(info, dict):
        raise RejectedError("evaluate() wrote something of its own over Slipway's output.json")
    check_metrics(metrics)
    return {
        "metrics": metrics,
        "info": bounds.fit_info(info),
        "rows": rows if isinstance(rows, list) else None,
        "typed": result.get("typed") is True,
        "history": result.get("history") is True,
        "features": check_names(result.get("features")),
    }


def check_names(names: Any) -> list[str] | None:
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def check_metrics(metrics: dict[str, Any]) -> None:
    """Check that these are few finite numbers with names; the model may have written anything.

    Raises `RejectedError` when they are not.
    """
    if wrong := bounds.find_metrics_error(metrics):
        raise RejectedError(wrong)
    for name, value in metrics.items():
        if not finite_numbers.is_finite(value):
            raise RejectedError(f"evaluate() gave {name} = {value!r:.40}: a metric is a finite number")
