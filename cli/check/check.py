"""The check of a working tree: the stages of a release, without a service and without a database."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

from loguru import logger

from cli import terminal
from cli.check import report, working_tree
from cli.check.console import ConsoleStages
from cli.check.first_prediction import open_model
from cli.check.home import open_home
from cli.check.settings import CheckSettings, load_check_settings
from cli.errors import UserError
from common.errors import RejectedError
from common.models_file import model_name
from common.repository_path import check_repository_path
from db.deployments import DeploymentSnapshot
from db.models import Release, StageName
from db.states import StageOutcome, Trigger
from ml.builder.context import BuildContext
from ml.builder.outcomes import to_stage_outcome
from ml.builder.pipeline import run_stages
from ml.builder.stages.gate import GateInputs
from ml.controller import gc
from ml.mlflow_sync.training_log import NO_LOGGING, TrainingLogTarget, log_to_files
from ml.paths import find_export
from ml.serving.workers.responses import Label
from ml.settings import ModelConfig

RELEASE_ID = 1  # of the only release in the folder of checks


def check_tree(path: Path, paths: Sequence[str] = (), *, serve: bool = False) -> None:
    """Take a working tree through the stages and show what becomes of it; raises `UserError` on failure.

    `paths` are parts of the repository around it that the model uses besides the folder. With `serve`, the
    model that passed is served until Ctrl-C.
    """
    tree = path.resolve()
    if not tree.is_dir():
        raise UserError(f"{path} is no folder: name the folder that has main.py")
    if not any((tree / name).is_file() for name in ("main.py", "slipway.toml")):
        raise UserError(
            f"{path} has neither main.py nor slipway.toml: name the folder of a model's repository"
        )
    settings, begun = load_check_settings(tree), monotonic()
    logger.remove()  # the stages are shown, and each has a log
    with open_home(settings.home) as home:
        context, repository = create_context(settings, tree, paths)
        stages = ConsoleStages(context)
        with explain_failure(context, stages, path):
            build(context, stages, repository)
            asyncio.run(try_model(context, begun, serve=serve))
        gc.sweep_shared(home, [context.release])


def create_context(settings: CheckSettings, tree: Path, paths: Sequence[str]) -> tuple[BuildContext, Path]:
    """Return the context of a release that exists in memory alone, and the working tree to commit."""
    name, repository = model_name(tree.name), tree
    model = ModelConfig(name, name, tree.as_uri(), "main")
    if paths:
        repository = find_repository(tree)
        folder, *others = check_paths([str(tree.relative_to(repository)), *paths])
        model = replace(model, path=folder, paths=tuple(others))
    release = Release(
        id=RELEASE_ID, model=name, repository=name, commit="", trigger=Trigger.MANUAL, attempts=1
    )
    return BuildContext(settings, model, release), repository


def find_repository(tree: Path) -> Path:
    try:
        return working_tree.find_repository(tree)
    except RejectedError as error:
        raise UserError(str(error)) from error


def check_paths(paths: Sequence[str]) -> list[str]:
    """Return paths in the repository, normalised; raises `UserError` for others."""
    try:
        return [check_repository_path(path) for path in paths]
    except ValueError as error:
        raise UserError(f"--paths: {error}") from error


def build(context: BuildContext, stages: ConsoleStages, repository: Path) -> None:
    clone, paths = context.home.repository_path(context.model.name), context.model.folders or (".",)
    context.release.commit = working_tree.commit_working_tree(repository, clone, paths)
    run_stages(context, stages, read_nothing_live, open_log_target)


async def try_model(context: BuildContext, begun: float, *, serve: bool) -> None:
    """Load the model that passed, show what it is and one prediction; with `serve`, until Ctrl-C."""
    async with open_model(context, terminal.print_text) as (pool, first):
        for line in report.describe_model(context.release.metrics or {}, first):
            terminal.print_text(line)
        terminal.print_text(f"passed in {monotonic() - begun:.1f} s: {context.model.name} can be merged")
        if serve:
            from cli.check.serve import serve_model  # noqa: PLC0415 (the pages load slowly)

            await serve_model(context, pool, first)


@contextmanager
def explain_failure(context: BuildContext, stages: ConsoleStages, path: Path) -> Iterator[None]:
    """Raise a failure of the commit or of the world as `UserError`, with the line of code that failed."""
    try:
        yield
    except Exception as fault:
        outcome, reason = to_stage_outcome(fault, context.home.root)
        if outcome is StageOutcome.FAILED:  # a bug of ours: with its traceback
            raise
        raise describe_failure(reason, context, stages.stage, path) from fault


def describe_failure(reason: str, context: BuildContext, stage: StageName, path: Path) -> UserError:
    """Show the end of the log, and return the reason with the line of code that failed."""
    release, home = context.release, context.home
    is_served = stage is StageName.DEPLOY  # a worker ran last
    log = home.log_path(release.id, "serve") if is_served else context.log_path(stage)
    if stage not in (StageName.CHECKOUT, StageName.DATA):  # all lines of these are shown already
        for line in report.describe_log(log):
            terminal.print_text(line)
    export = find_export(home.source_path(release.id)).resolve()
    roots = [export, home.scratch_path(release.id) / "repository"]
    is_test = stage in (StageName.TEST, StageName.AFTER_TRAIN)
    place = report.find_test_line(log) if is_test else report.find_line(log, reason, roots)
    if place and not is_test:  # by the way from the model's folder
        place = os.path.relpath(place, context.model.path or os.curdir)
    label = Label(release.model, release.id, release.commit)
    reason = reason.replace(f". The log of {label} has the details.", "")
    return UserError(f"{os.path.normpath(path / place)}: {reason}" if place else reason)


def read_nothing_live(_: str) -> GateInputs:
    """Return what the gate compares with where nothing is live."""
    return GateInputs(snapshot=DeploymentSnapshot(None, None))


def open_log_target(lock: str, scratch: Path) -> TrainingLogTarget:
    """Let code whose environment has MLflow log into files."""
    return log_to_files(scratch, "MLflow is off") if "mlflow" in lock.lower() else NO_LOGGING
