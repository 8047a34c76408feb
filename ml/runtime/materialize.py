"""The restoration of what a release needs to run, from git, the package index and the artifact on disk."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import RejectedError
from db.models import Release
from ml import manifest
from ml.environments import environments
from ml.environments.locked_environment import LockedEnvironment
from ml.paths import HomeLayout
from ml.runtime.artifact import Artifact
from ml.runtime.invoke import ModelRuntime
from ml.sandbox import sandbox
from ml.sandbox.sandbox import Sandbox
from ml.settings import MlSettings, ModelConfig


@dataclass(frozen=True)
class RunnableRelease:
    """A release whose model can be invoked: its runtime, its entry point, its artifact."""

    runtime: ModelRuntime
    entry_point: str
    artifact: Artifact

    def to_request(self) -> dict[str, str]:
        """Return the part of a request that `ml/model_host` reads."""
        return {"entry_point": self.entry_point, "artifact": str(self.artifact.path)}


@dataclass(frozen=True)
class MaterializedRelease(RunnableRelease):
    """A release that can be started: its runtime, the trained model, the path of its log."""

    log: Path
    load_timeout: float  # seconds


def materialize_release(
    settings: MlSettings,
    model: ModelConfig,
    release: Release,
    log_line: Callable[[str], None],
    *,
    log_name: str = "serve",
    restrict: Callable[[Sandbox], Sandbox] = lambda whole: whole,
) -> MaterializedRelease:
    """Restore what is missing and check the artifact's digest; `log_line` reports what takes long.

    `log_name` is that of the release's log that its workers write; `restrict` takes rights and limits from
    its sandbox. Raises `RejectedError` when the release
    cannot run any more, `UnavailableError` when it cannot be restored now.
    """
    home, model = HomeLayout(settings.home.absolute()), model.for_release(release)
    if release.lock is None or release.python is None or release.artifact is None:
        raise RejectedError(f"release {release.id} was never built to its end")
    log = home.log_path(release.id, log_name)
    log.parent.mkdir(parents=True, exist_ok=True)
    artifact = verify_artifact(home.artifact_path(release.isolation, release.id), release.artifact)
    source = home.source_path(release.id)
    if not source.exists():
        from ml.sources import source_tree  # noqa: PLC0415 (GitPython is large, and rarely needed)

        log_line(f"the source of release {release.id} is gone: it is fetched again")
        source_tree.checkout_release(settings, model, release, log_line)
    resolved = LockedEnvironment(release.lock, release.python)
    if environments.find_environment(resolved, home, release.isolation) is None:
        log_line(f"the environment of release {release.id} is gone: it is made again")
    resources = manifest.read(source).resources
    model_sandbox = restrict(sandbox.sandbox_for(settings, model, resources))
    runtime = assemble_runtime(resolved, home, release.id, log, model_sandbox)
    load_timeout = model.resources.with_defaults(resources).load_timeout or settings.load_timeout
    return MaterializedRelease(
        runtime,
        release.entry_point or "main:entry_point",
        Artifact(artifact, release.artifact),
        log,
        load_timeout,
    )


def has_artifact(home: HomeLayout, release: Release) -> bool:
    """Return whether the trained model of a release is on this machine."""
    return release.artifact is not None and home.artifact_path(release.isolation, release.id).is_file()


def assemble_runtime(
    resolved: LockedEnvironment, home: HomeLayout, release_id: int, log: Path, model_sandbox: Sandbox
) -> ModelRuntime:
    """Return the runtime of a release whose source is checked out; build its environment unless it exists."""
    source = home.source_path(release_id)
    folder = environments.build_environment(resolved, home, log, model_sandbox, source)
    return ModelRuntime(folder, source, home.scratch_path(release_id), model_sandbox)


def verify_artifact(artifact: Path, digest: str) -> Path:
    """Return the artifact when its digest is that of the trained model: a pickle is code.

    A changed one is someone else's code. Raises `RejectedError`.
    """
    if not artifact.is_file():
        raise RejectedError(f"the trained model is gone from {artifact}: train it again")
    with artifact.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise RejectedError(f"{artifact} is not what was trained (its digest differs): train it again")
    return artifact
