"""Trains: data in, the model's bytes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import repository, tables
from .fault import Fault, call


def train(directory: str, question: dict[str, Any]) -> dict[str, int]:
    """Write `directory`/artifact; gives its size in bytes."""
    entry_point = repository.load(question["source"], question["entry_point"])
    arguments = [tables.read(question["data"]), *previous(entry_point.train, question.get("previous"))]
    trained = call("train()", entry_point.train, *arguments)
    if not isinstance(trained, (bytes, bytearray, memoryview)):
        raise Fault(
            "train() gave {}: it has to return the trained model as bytes, for example "
            "`return pickle.dumps(model)`".format("None" if trained is None else type(trained).__name__)
        )
    with open(directory + "/artifact", "wb") as file:
        return {"bytes": file.write(trained)}


def previous(function: Callable[..., Any], path: str | None) -> list[bytes | None]:
    """What train's second parameter `previous` gets, where it has one: an earlier model's bytes, or None."""
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a compiled function
        parameters = []
    if "previous" in parameters:
        return [Path(path).read_bytes() if path else None]
    if path:
        raise Fault("a warm start was asked for, and train() has no second parameter `previous`")
    return []
