"""Training: data in, the model's bytes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import dataframes, repository
from .errors import ModelError, call_model


def train(directory: str, question: dict[str, Any]) -> dict[str, int]:
    """Train the model and write `directory`/artifact; return its size in bytes."""
    entry_point = repository.load_entry_point(question)
    arguments = [
        dataframes.read_data(question["data"]),
        *build_previous_arguments(entry_point.train, question.get("previous")),
    ]
    trained = call_model("train()", entry_point.train, *arguments)
    if not isinstance(trained, (bytes, bytearray, memoryview)):
        raise ModelError(
            "train() gave {}: it has to return the trained model as bytes, for example "
            "`return pickle.dumps(model)`".format("None" if trained is None else type(trained).__name__)
        )
    with open(directory + "/artifact", "wb") as file:
        return {"bytes": file.write(trained)}


def build_previous_arguments(function: Callable[..., Any], path: str | None) -> list[bytes | None]:
    """Return the argument for train's second parameter `previous`, where it has one: an earlier model's
    bytes, or None. Raises `ModelError` when a warm start was requested and it has none.
    """
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a compiled function
        parameters = []
    if "previous" in parameters:
        return [Path(path).read_bytes() if path else None]
    if path:
        raise ModelError("a warm start was requested, but train() has no second parameter `previous`")
    return []
