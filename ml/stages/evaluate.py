"""Evaluate: the trained model scored on the test data, and described by itself."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.durable import publish
from ml import numbers
from ml.errors import Rejected
from ml.model import bounds
from ml.runner import trees, verb
from ml.runner.verb import Room
from ml.stages.data import DataSet
from ml.stages.train import Artifact


@dataclass(frozen=True)
class Scored:
    metrics: dict[str, float]  # finite, at least one
    info: dict[str, Any]
    rows: list[Any] | None = None  # what a prediction can be tried with; None: what it says itself
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
        metrics, info = result.get("metrics"), result.get("info")
        if not isinstance(metrics, dict) or not isinstance(info, dict):
            raise Rejected("evaluate() wrote something of its own over Slipway's output.json")
        check_metrics(metrics)
        rows = result.get("rows")
        kept = {
            "metrics": metrics,
            "info": bounds.fit_info(info),
            "rows": rows if isinstance(rows, list) else None,
        }
        (new / done.name).write_text(json.dumps(kept | {"history": result.get("history") is True}))
        publish(new, into)
    return Scored(**json.loads(done.read_text()))


def check_metrics(metrics: dict[str, Any]) -> None:
    """Raise `Rejected` unless they are few finite numbers with names; the model may have written anything."""
    if wrong := bounds.wrong_metrics(metrics):
        raise Rejected(wrong)
    for name, value in metrics.items():
        if not numbers.is_finite(value):
            raise Rejected(f"evaluate() gave {name} = {value!r:.40}: a metric is a finite number")
