"""Trains: data in, the model's bytes out."""

from __future__ import annotations

from typing import Any

from . import repository, tables
from .fault import Fault, call


def train(directory: str, question: dict[str, Any]) -> dict[str, int]:
    """Write `directory`/artifact; gives its size in bytes."""
    entry_point = repository.load(question["source"], question["entry_point"])
    trained = call("train()", entry_point.train, tables.read(question["data"]))
    if not isinstance(trained, (bytes, bytearray, memoryview)):
        raise Fault(
            "train() gave {}: it has to return the trained model as bytes, for example "
            "`return pickle.dumps(model)`".format("None" if trained is None else type(trained).__name__)
        )
    with open(directory + "/artifact", "wb") as file:
        return {"bytes": file.write(trained)}
