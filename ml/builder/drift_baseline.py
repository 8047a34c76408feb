"""What drift of a release is measured against: rows of its training data, and its predictions on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loguru import logger

from common.errors import RejectedError, UnavailableError
from ml.builder import stored_result
from ml.monitor.drift.baseline import (
    MAX_CELLS,
    MAX_TRAINING_ROWS,
    BaselineError,
    DriftBaseline,
    make_baseline,
)
from ml.monitor.drift.baseline_file import write_baseline
from ml.monitor.hidden_fields import hide_fields, without_columns
from ml.record_section import FieldRule
from ml.runtime import invoke
from ml.runtime.materialize import RunnableRelease
from ml.sandbox import rmtree
from ml.sources.datasets import DataSet

MAX_SECONDS = 120.0  # with reading the data and loading the model
PREDICT_SECONDS = 10.0  # for all rows; slower models get fewer
STORED_FILE = "drift.json"
UNNAMED = "features have no names: give predict()'s features a type, or add examples()"


@dataclass(frozen=True)
class BaselineSource:
    """The rows of a baseline: the training data, which of its columns are features, and what is hidden."""

    data: DataSet
    features: list[str] | None  # None: they have no names
    hidden: Mapping[str, FieldRule]


def make_drift_baseline(
    release: RunnableRelease, source: BaselineSource, path: Path, *, output: Path, log: Path, timeout: float
) -> str:
    """Make the baseline once, as the file `path`; return its digest.

    Raises `BaselineError` with a sentence why there is none: that is no fault of the release.
    """
    if not source.features:
        raise BaselineError(UNNAMED)

    def make(folder: Path) -> dict[str, str]:
        try:
            return {"sha256": write_baseline(measure_rows(release, source, folder, log, timeout), path)}
        except (RejectedError, UnavailableError, BaselineError) as fault:
            return {"none": str(fault)}
        except Exception as fault:  # noqa: BLE001 (whatever a model does here must not reject it)
            logger.exception("the drift baseline could not be made")
            return {"none": f"a bug of Slipway's, not of the release: {fault!r}"}
        finally:  # rows of the training data: nothing of them stays
            rmtree.remove_tree(folder)
            folder.mkdir(parents=True)

    if not path.exists():  # a check's was pruned meanwhile
        (output / STORED_FILE).unlink(missing_ok=True)
    stored = stored_result.load_or_make(output, STORED_FILE, make)
    if "sha256" not in stored:
        raise BaselineError(stored["none"])
    return str(stored["sha256"])


def measure_rows(
    release: RunnableRelease, source: BaselineSource, folder: Path, log: Path, timeout: float
) -> DriftBaseline:
    """Return the measured rows and predictions; raises what went wrong."""
    names = source.features or []
    answer = invoke.invoke(
        "drift_rows",
        release.to_request()
        | {
            "data": source.data.to_request(),
            "features": names,
            "hidden": list(source.hidden),
            "most": min(MAX_TRAINING_ROWS, MAX_CELLS // (len(names) + 1)),
            "seconds": PREDICT_SECONDS,
        },
        runtime=release.runtime,
        folder=folder,
        log=log,
        timeout=min(timeout, MAX_SECONDS),
    )
    rows, predictions = check_rows(answer, source.hidden)
    baseline = make_baseline(rows, predictions)
    if not baseline.has_columns:
        raise BaselineError("no feature of the training data may be recorded")
    return without_columns(baseline, source.hidden)


def check_rows(answer: Mapping[str, Any], hidden: Mapping[str, FieldRule]) -> tuple[list[Any], list[Any]]:
    """Return rows and predictions without hidden fields; the model may have written anything."""
    rows, predictions = answer.get("rows"), answer.get("predictions")
    if not isinstance(rows, list) or not isinstance(predictions, list) or len(rows) != len(predictions):
        raise BaselineError("the model wrote something of its own over Slipway's output.json")
    return [hide_fields(row, hidden) for row in rows], [hide_fields(one, hidden) for one in predictions]
