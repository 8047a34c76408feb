"""Train: the model's own `train`, once; its bytes are the artifact."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from common.durable import publish
from ml.errors import Rejected
from ml.runner import trees, verb
from ml.runner.verb import Room
from ml.stages.data import DataSet
from ml.tracking.code import NOWHERE, Logging


@dataclass(frozen=True)
class Artifact:
    path: Path
    sha256: str


def fit(
    room: Room,
    entry_point: str,
    data: DataSet,
    *,
    into: Path,
    artifact: Path,
    log: Path,
    timeout: float,
    previous: Path | None = None,
    logging: Logging = NOWHERE,
) -> Artifact:
    """Train in a new folder that becomes `into` when all is done; the model's bytes go to `artifact`.

    `previous` is the artifact of an earlier release, for a warm start; `logging` is where the code may log to
    MLflow. Raises `Rejected` with what the model did wrong.
    """
    done = into / "artifact.json"
    if not done.exists():
        new = into.with_name(into.name + ".new")
        trees.remove(new)
        question = {
            "entry_point": entry_point,
            "data": data.question(),
            "previous": str(previous) if previous else None,
        }
        verb.ask(
            "train",
            question,
            room=room,
            folder=new,
            log=log,
            timeout=timeout,
            here=logging.ports,
            extra=logging.variables,
        )
        digest = keep(new / "artifact", artifact, room.sandbox.memory)
        (new / done.name).write_text(json.dumps({"sha256": digest}))
        publish(new, into)
    return Artifact(artifact, json.loads(done.read_text())["sha256"])


def keep(trained: Path, artifact: Path, most: int) -> str:
    """Put the bytes in their place for good; their sha256.

    Raises `Rejected` for more than `most`, also where they take no room on the disk.
    """
    if (length := trained.stat().st_size) > most:
        raise Rejected(
            f"train() left a model of {verb.size(length)}, and no model may hold more memory than "
            f"{verb.size(most)} ([resources] memory, SLIPWAY_MEMORY): nothing could load it"
        )
    with trained.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    artifact.parent.mkdir(parents=True, exist_ok=True)
    publish(trained, artifact)
    return digest
