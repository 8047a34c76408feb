"""A release as MLflow's pyfunc model, which contains a copy of this folder that MLflow loads.

    slipway/slipway.json   {"entry_point", "kind", "path"}, the last of a model in a folder of its repository
    slipway/repository.zip the repository at the release's commit
    slipway/artifact       the trained model: the bytes that train() gave

A table's row, a tensor's element or an item of a list is one row of features, built as Slipway's own
`POST /invocations` does.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .feature_kind import LIST, VALUE, infer_kind
from .predict import predict_batch_or_none, predict_row, prepare_model
from .to_json import to_json_value

_chdir_lock = threading.RLock()
_unpacked: list[str] = []  # repositories of releases that were loaded before


@contextmanager
def working_directory(folder: str) -> Iterator[None]:
    """Run in this working directory, as Slipway calls a model, and restore the previous one afterwards."""
    with _chdir_lock:
        before = os.getcwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def unpack_archive(archive: str) -> str:
    """Unpack the repository into a folder that is deleted when the process ends, and return its path."""
    folder = os.path.realpath(tempfile.mkdtemp(prefix="slipway-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


def unload_modules() -> None:
    """Unload the modules of releases loaded before: this release's modules of the same names differ."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(tuple(_unpacked)):
            del sys.modules[name]


class PyfuncRelease:
    """The model that `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, folder: str) -> None:
        about = json.loads(Path(folder, "slipway.json").read_text(encoding="utf-8"))
        self.repository = unpack_archive(os.path.join(folder, "repository.zip"))
        artifact = os.path.join(os.path.abspath(folder), "artifact")
        self.source = os.path.join(self.repository, *about.get("path", "").split("/")).rstrip(os.sep)
        given = {"source": self.source, "entry_point": about["entry_point"], "artifact": artifact}
        with working_directory(self.source):
            unload_modules()
            handshake, self.model = prepare_model(given)
            _unpacked.append(self.repository + os.sep)
        examples = handshake["examples"] or (handshake["schema"] or {}).get("examples")
        self.feature_kind = infer_kind(handshake["schema"], examples, about["kind"])

    def predict(self, given: Any, params: dict[str, Any] | None = None) -> list[Any]:  # noqa: ARG002
        """Return the predictions, one a row; raises the model's error for the first row that has none."""
        found = to_rows(given, self.feature_kind)
        with working_directory(self.source):
            answers = predict_batch_or_none(self.model, found)
            if answers is None:  # fresh rows: predict_batch() may have changed its arguments
                answers = [predict_row(self.model, row) for row in to_rows(given, self.feature_kind)]
        return [read_prediction(number, json.loads(reply)) for number, reply in enumerate(answers)]


def read_prediction(number: int, reply: dict[str, Any]) -> Any:
    if "invalid" in reply:
        raise ValueError(f"row {number}: {reply['invalid']}")
    if "error" in reply:
        raise RuntimeError(
            f"row {number}: predict() raised {reply['error']['type']}: {reply['error']['message']}"
        )
    return reply["prediction"]


def to_rows(given: Any, kind: str) -> list[Any]:
    """Return the rows of MLflow's input: a DataFrame, tensors by name, an array, a list, or a single row."""
    if hasattr(given, "to_dict") and hasattr(given, "columns"):
        names, columns = list(given.columns), given.to_dict("list").values()
        return [to_row(names, values, kind) for values in zip(*columns)]  # noqa: B905 (Python 3.8)
    if hasattr(given, "tolist"):
        given = given.tolist()
    if isinstance(given, dict) and given and all(hasattr(values, "tolist") for values in given.values()):
        columns = [values.tolist() for values in given.values()]
        return [to_row(list(given), values, kind) for values in zip(*columns)]  # noqa: B905 (Python 3.8)
    return [to_cell(each) for each in given] if isinstance(given, list) else [to_cell(given)]


def to_row(names: list[Any], values: tuple[Any, ...], kind: str) -> Any:
    cells = [to_cell(value) for value in values]
    if kind == LIST or not all(isinstance(name, str) for name in names):
        return cells[0] if kind == VALUE and len(cells) == 1 else cells
    return cells[0] if kind == VALUE and len(cells) == 1 else dict(zip(names, cells))  # noqa: B905 (Python 3.8)


def to_cell(value: Any) -> Any:
    """Return a cell as a JSON value; a missing one is None."""
    return None if isinstance(value, float) and value != value else to_json_value(value)  # noqa: PLR0124
