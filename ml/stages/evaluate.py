"""Evaluate: the trained model scored on the test data, and described by itself."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.errors import Rejected
from ml.runner import trees, verb
from ml.runner.verb import Room
from ml.stages.data import DataSet
from ml.stages.train import Artifact


@dataclass(frozen=True)
class Scored:
    metrics: dict[str, float]  # finite, at least one
    info: dict[str, Any]
    history: bool = False  # whether the model can say what is known before its forecasts


def score(
    room: Room, entry_point: str, artifact: Artifact, data: DataSet, *, into: Path, log: Path, timeout: float
) -> Scored:
    """Ask once and keep the answer in `into`; `Rejected` with what the model did wrong."""
    done = into / "scored.json"
    if not done.exists():
        new = into.with_name(into.name + ".new")
        trees.remove(new)
        question = {"entry_point": entry_point, "artifact": str(artifact.path), "data": data.question()}
        result = verb.ask("evaluate", question, room=room, folder=new, log=log, timeout=timeout)
        kept = {name: result.get(name) for name in ("metrics", "info")}
        if not all(isinstance(value, dict) for value in kept.values()):
            raise Rejected("evaluate() wrote something of its own over Slipway's output.json")
        (new / done.name).write_text(json.dumps(kept | {"history": result.get("history") is True}))
        new.rename(into)
    return Scored(**json.loads(done.read_text()))
