"""A release as MLflow's pyfunc model: a copy of this folder goes along with it, and is loaded by MLflow.

    slipway/slipway.json   {"entry_point", "kind"}
    slipway/repository.zip the repository at the release's commit
    slipway/artifact       the trained model: the bytes that train() gave

A table's row, a tensor's element or an item of a list is one row of features, put together as Slipway's own
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

from .jsonable import jsonable
from .predict import one, prepare, together
from .shape import LIST, VALUE, shape

_moving = threading.RLock()
_unpacked: list[str] = []  # repositories of releases that were loaded before


@contextmanager
def inside(folder: str) -> Iterator[None]:
    """In this working directory, as Slipway calls a model; back where we were afterwards."""
    with _moving:
        before = os.getcwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def unpack(archive: str) -> str:
    """The repository in a folder that is there until the process ends."""
    folder = os.path.realpath(tempfile.mkdtemp(prefix="slipway-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


def forget() -> None:
    """Modules of releases that were loaded before: this one's by the same names are others."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(tuple(_unpacked)):
            del sys.modules[name]


class Release:
    """What `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, folder: str) -> None:
        about = json.loads(Path(folder, "slipway.json").read_text(encoding="utf-8"))
        self.repository = unpack(os.path.join(folder, "repository.zip"))
        artifact = os.path.join(os.path.abspath(folder), "artifact")
        given = {"source": self.repository, "entry_point": about["entry_point"], "artifact": artifact}
        with inside(self.repository):
            forget()
            hello, self.model = prepare(given)
            _unpacked.append(self.repository + os.sep)
        examples = hello["examples"] or (hello["schema"] or {}).get("examples")
        self.shape = shape(hello["schema"], examples, about["kind"])

    def predict(self, given: Any, params: dict[str, Any] | None = None) -> list[Any]:  # noqa: ARG002
        """The predictions, a row each; raises what the model says of the first row that has none."""
        found = rows(given, self.shape)
        with inside(self.repository):
            answers = together(self.model, found)
            if answers is None:  # rows anew: predict_batch() may have changed what it was given
                answers = [one(self.model, row) for row in rows(given, self.shape)]
        return [prediction(number, json.loads(said)) for number, said in enumerate(answers)]


def prediction(number: int, said: dict[str, Any]) -> Any:
    if "invalid" in said:
        raise ValueError(f"row {number}: {said['invalid']}")
    if "error" in said:
        raise RuntimeError(
            f"row {number}: predict() raised {said['error']['type']}: {said['error']['message']}"
        )
    return said["prediction"]


def rows(given: Any, wanted: str) -> list[Any]:
    """The rows of what MLflow hands over: a DataFrame, tensors by name, an array, a list, or a single row."""
    if hasattr(given, "to_dict") and hasattr(given, "columns"):
        names, columns = list(given.columns), given.to_dict("list").values()
        return [row(names, values, wanted) for values in zip(*columns)]  # noqa: B905 (Python 3.8)
    if hasattr(given, "tolist"):
        given = given.tolist()
    if isinstance(given, dict) and given and all(hasattr(values, "tolist") for values in given.values()):
        columns = [values.tolist() for values in given.values()]
        return [row(list(given), values, wanted) for values in zip(*columns)]  # noqa: B905 (Python 3.8)
    return [cell(each) for each in given] if isinstance(given, list) else [cell(given)]


def row(names: list[Any], values: tuple[Any, ...], wanted: str) -> Any:
    cells = [cell(value) for value in values]
    if wanted == LIST or not all(isinstance(name, str) for name in names):
        return cells[0] if wanted == VALUE and len(cells) == 1 else cells
    return cells[0] if wanted == VALUE and len(cells) == 1 else dict(zip(names, cells))  # noqa: B905 (Python 3.8)


def cell(value: Any) -> Any:
    """As JSON would have it; what a table has no value for is None."""
    return None if isinstance(value, float) and value != value else jsonable(value)  # noqa: PLR0124
