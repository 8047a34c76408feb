"""The stage `train`: the model, trained once on this commit's data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from common.errors import RejectedError
from common.units import format_bytes
from db.models import StageName
from ml.builder import preflight, training
from ml.builder.context import BuildContext
from ml.builder.recipe import make_recipe
from ml.builder.reuse import NOTHING, ReuseCheck
from ml.builder.stages.checkout import CheckoutResult
from ml.builder.stages.data import DataResult
from ml.builder.stages.environment import EnvironmentResult
from ml.builder.stages.result import StageResult
from ml.mlflow_sync import training_log
from ml.mlflow_sync.training_log import TrainingLogTarget
from ml.runtime.artifact import Artifact
from ml.runtime.invoke import ModelRuntime
from ml.runtime.materialize import RunnableRelease, verify_artifact
from ml.stage_log import LogLine

# gives the target of what train() logs to MLflow, from the environment's lock and the scratch folder
OpenLogTarget = Callable[[str, Path], TrainingLogTarget]


@dataclass(frozen=True, kw_only=True)
class TrainResult(StageResult):
    """The trained model, and what it needs to run."""

    release: RunnableRelease
    differences: Mapping[str, Any] | None = None  # that a check found, whose model this is


def run(
    context: BuildContext,
    checkout: CheckoutResult,
    environment: EnvironmentResult,
    data: DataResult,
    open_log_target: OpenLogTarget,
    reuse_check: ReuseCheck,
    log_line: LogLine,
) -> TrainResult:
    manifest, runtime = checkout.manifest, environment.runtime
    recipe = make_recipe(context, checkout, environment, data)
    reused = reuse_check(context, checkout.files, recipe) if checkout.files else NOTHING
    if reused.note:
        log_line(reused.note)
    train = partial(
        training.train_model,
        runtime,
        manifest.model.entry_point,
        data.train,
        output=context.folder / "train",
        artifact=context.home.artifact_path(context.release.isolation, context.release.id),
        log=context.log_path(StageName.TRAIN),
        timeout=manifest.resources.train_timeout or context.settings.train_timeout,
        previous=find_warm_start(context),
    )
    if reused.check:
        artifact = train()  # returns what is stored
        log_line(f"model trained in check {reused.check}")
    else:
        log_target = open_log_target(environment.lock, runtime.scratch)
        artifact = train_with_log(train, context.model.name, runtime, log_target, log_line)
    log_line(f"a trained model of {format_bytes(artifact.path.stat().st_size)}, sha256 {artifact.sha256}")
    release = RunnableRelease(runtime, manifest.model.entry_point, artifact)
    facts = {"artifact": artifact.sha256, "recipe": recipe}
    return TrainResult(
        release=release, differences=reused.differences, is_reused=bool(reused.check), facts=facts
    )


def train_with_log(
    train: Callable[..., Artifact],
    model: str,
    runtime: ModelRuntime,
    log_target: TrainingLogTarget,
    log_line: LogLine,
) -> Artifact:
    """Train the model; a second time with logs in files when MLflow became unavailable during train()."""
    if log_target.files_reason:
        log_line(f"{log_target.files_reason}: what train() logs to it goes into temporary files")
    try:
        return train(log_target=log_target)
    except RejectedError as fault:
        if not log_target.is_unavailable():
            raise RejectedError(preflight.explain_failure(runtime.source, str(fault))) from fault
    finally:
        log_target.revoke_access(model)
    log_line("MLflow became unavailable while train() was logging to it: it runs again and logs to files")
    return train(log_target=training_log.log_to_files(runtime.scratch, "MLflow became unavailable"))


def find_warm_start(context: BuildContext) -> Path | None:
    """Return the artifact of the release that a warm start continues from."""
    parent = context.parent
    if parent is None:
        return None
    if parent.artifact is None or parent.pruned_at is not None:
        raise RejectedError(f"release {parent.id} has no trained model to start from")
    return verify_artifact(context.home.artifact_path(parent.isolation, parent.id), parent.artifact)
