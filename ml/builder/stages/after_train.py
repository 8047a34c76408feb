"""The stage `after_train`: the repository's tests of the trained model, beside the live one."""

import shutil
from pathlib import Path

from common.errors import RejectedError
from db.models import Deployment, StageName
from db.states import Trigger
from ml.builder import repository_tests
from ml.builder.context import BuildContext
from ml.builder.stages.checkout import CheckoutResult
from ml.builder.stages.data import DataResult
from ml.builder.stages.environment import EnvironmentResult
from ml.builder.stages.gate import ReadGateInputs
from ml.builder.stages.result import StageResult
from ml.builder.stages.train import TrainResult
from ml.runtime.invoke import ModelRuntime
from ml.runtime.materialize import verify_artifact
from ml.stage_log import LogLine


def run(
    context: BuildContext,
    checkout: CheckoutResult,
    environment: EnvironmentResult,
    data: DataResult,
    trained: TrainResult,
    read_inputs: ReadGateInputs,
    log_line: LogLine,
) -> StageResult:
    command = checkout.manifest.test.after_train
    assert command is not None
    live = read_inputs(data.test.sha256).live
    with repository_tests.open_tests(context, checkout, environment, StageName.AFTER_TRAIN) as runtime:
        files = {"SLIPWAY_CANDIDATE": trained.release.artifact.path, "SLIPWAY_TEST_DATA": data.test.path}
        if (copy := copy_live(context, live, runtime, log_line)) is not None:
            files["SLIPWAY_LIVE"] = copy
        stage = StageName.AFTER_TRAIN
        repository_tests.run_tests(context, stage, command, runtime, log_line=log_line, files=files)
    return StageResult()


def copy_live(
    context: BuildContext, live: Deployment | None, runtime: ModelRuntime, log_line: LogLine
) -> Path | None:
    """Return a copy of the live model for the tests to read: a fork's check gets none."""
    release = context.release
    if live is None:
        log_line("nothing is live: SLIPWAY_LIVE is not set")
        return None
    if release.trigger is Trigger.CHECK and release.is_fork:
        log_line("the check of a fork does not see the live model: SLIPWAY_LIVE is not set")
        return None
    path = context.home.artifact_path(live.release.isolation, live.release_id)
    try:
        artifact = verify_artifact(path, live.release.artifact or "")
    except RejectedError as fault:
        log_line(f"SLIPWAY_LIVE is not set: {fault}")
        return None
    copy = runtime.scratch.with_name("live-model")
    shutil.copyfile(artifact, copy)
    copy.chmod(0o444)
    return copy
