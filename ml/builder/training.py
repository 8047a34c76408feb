"""The training of a model: its own `train` runs once, and the bytes it leaves are the artifact."""

import hashlib
from pathlib import Path

from common.errors import RejectedError
from common.system.durable import move_into_place
from common.units import format_gib
from ml.builder import stored_result
from ml.mlflow_sync.training_log import NO_LOGGING, TrainingLogTarget
from ml.runtime import invoke
from ml.runtime.artifact import Artifact
from ml.runtime.invoke import ModelRuntime
from ml.sources.datasets import DataSet


def train_model(
    runtime: ModelRuntime,
    entry_point: str,
    data: DataSet,
    *,
    output: Path,
    artifact: Path,
    log: Path,
    timeout: float,
    previous: Path | None = None,
    log_target: TrainingLogTarget = NO_LOGGING,
) -> Artifact:
    """Train in a new folder that is renamed to `output` when all is done; the model's bytes go to `artifact`.

    `previous` is the artifact of an earlier release, for a warm start; `log_target` is where the code may log
    to MLflow. Raises `RejectedError` with what the model did wrong.
    """

    def train(folder: Path) -> dict[str, str]:
        request = {
            "entry_point": entry_point,
            "data": data.to_request(),
            "previous": str(previous) if previous else None,
        }
        invoke.invoke(
            "train",
            request,
            runtime=runtime,
            folder=folder,
            log=log,
            timeout=timeout,
            local_ports=log_target.ports,
            env=log_target.variables,
        )
        return {"sha256": store_artifact(folder / "artifact", artifact, runtime.sandbox.memory)}

    return Artifact(artifact, stored_result.load_or_make(output, "artifact.json", train)["sha256"])


def store_artifact(trained: Path, artifact: Path, max_bytes: int) -> str:
    """Move the bytes to their final place; return their sha256.

    Raises `RejectedError` for more than `max_bytes`, also where a sparse file takes no room on the disk.
    """
    if (length := trained.stat().st_size) > max_bytes:
        raise RejectedError(
            f"train() left a model of {format_gib(length)}, and no model may hold more memory than "
            f"{format_gib(max_bytes)} ([resources] memory, SLIPWAY_MEMORY): nothing could load it"
        )
    with trained.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    artifact.parent.mkdir(parents=True, exist_ok=True)
    move_into_place(trained, artifact)
    return digest
