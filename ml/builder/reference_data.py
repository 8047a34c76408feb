"""The reference data that predictions are shown with; a model that has none goes live all the same."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from common.errors import RejectedError, UnavailableError
from ml.builder import stored_result
from ml.builder.finite_numbers import is_finite
from ml.runtime import invoke
from ml.runtime.invoke import ModelRuntime
from ml.sources.datasets import DataSet

TIMEOUT_SECONDS = 60.0  # seconds
MAX_JSON_BYTES = 128 << 10  # bytes, as JSON
STATISTICS = ("min", "median", "max")


def read_reference_data(
    runtime: ModelRuntime, entry_point: str, kind: str, data: DataSet, *, output: Path, log: Path
) -> dict[str, Any] | str:
    """Return the document that is stored with the release, or a sentence why there is none.

    The answer is stored in `output`.
    """

    def read(folder: Path) -> dict[str, Any]:
        request = {"entry_point": entry_point, "kind": kind, "data": data.to_request()}
        return invoke.invoke(
            "reference_data", request, runtime=runtime, folder=folder, log=log, timeout=TIMEOUT_SECONDS
        )

    try:
        document = stored_result.load_or_make(output, "known.json", read)
    except (RejectedError, UnavailableError) as fault:
        return str(fault)
    return validate_reference_data(document)


def validate_reference_data(document: dict[str, Any]) -> dict[str, Any] | str:
    """Return what a model wrote if the pages can draw it, else a sentence why not: it is untrusted."""
    history, target = document.get("history"), document.get("target")
    if len(json.dumps(document)) > MAX_JSON_BYTES:
        return "reference data exceeds 128 KiB and was not stored"
    if isinstance(history, list) and history and all(map(is_history_row, history)):
        return {"history": history}
    if isinstance(target, dict) and is_distribution(target):
        return {"target": {name: target[name] for name in ("column", *STATISTICS)}}
    return "no history is known" if "history" in document else "no column of the training data is the target"


def is_history_row(row: Any) -> bool:
    return isinstance(row, list) and len(row) == 2 and is_timestamp(row[0]) and is_finite(row[1])


def is_timestamp(text: Any) -> bool:
    try:
        datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return False
    return True


def is_distribution(target: dict[str, Any]) -> bool:
    column = target.get("column")
    has_name = isinstance(column, str) and column.isprintable()
    return has_name and all(is_finite(target.get(name)) for name in STATISTICS)
