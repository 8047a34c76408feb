"""Brings back what a release needs to run, from git, the package index and the artifact on disk."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from db.models import Release
from ml import manifest
from ml.errors import Rejected
from ml.home import Home
from ml.runner import sandbox
from ml.runner.verb import Room
from ml.settings import Model, Settings
from ml.stages import environment
from ml.stages.environment import Resolved


@dataclass(frozen=True)
class Ready:
    """A release that can be started: its room, the trained model, where its log goes."""

    room: Room
    entry_point: str
    artifact: Path
    log: Path
    load_timeout: float  # seconds


def restore(settings: Settings, model: Model, release: Release, say: Callable[[str], None]) -> Ready:
    """Make what is missing again and check the artifact's digest; `say` tells of what takes long.

    Raises `Rejected` when the release cannot run any more, `Unavailable` when it cannot be brought back now.
    """
    home = Home(settings.home.absolute())
    if release.lock is None or release.python is None or release.artifact is None:
        raise Rejected(f"release {release.id} was never built to its end")
    log = home.log(release.id, "serve")
    log.parent.mkdir(parents=True, exist_ok=True)
    artifact = checked(home.artifact(model.name, release.id), release.artifact)
    source = home.source(release.id)
    if not source.exists():
        from ml.stages import checkout  # noqa: PLC0415 (GitPython is large, and this is seldom needed)

        say(f"the source of release {release.id} is gone: it is fetched again")
        checkout.fetch(
            model,
            release.commit,
            clone=home.repository(model.name),
            into=source,
            token=settings.github_token,
            host=settings.github_host,
        )
    resolved = Resolved(release.lock, release.python)
    if environment.find(resolved, home, model.name) is None:
        say(f"the environment of release {release.id} is gone: it is made again")
    asked = manifest.read(source).resources
    held = sandbox.of(settings, model, asked)
    room = Room(environment.build(resolved, home, log, held), source, home.scratch(release.id), held)
    seconds = model.resources.over(asked).load_timeout or settings.load_timeout
    return Ready(room, release.entry_point or "main:entry_point", artifact, log, seconds)


def checked(artifact: Path, digest: str) -> Path:
    """The artifact, when it is what was trained: a pickle is code, and a changed one is someone else's."""
    if not artifact.is_file():
        raise Rejected(f"the trained model is gone from {artifact}: train it again")
    with artifact.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise Rejected(f"{artifact} is not what was trained (its digest differs): train it again")
    return artifact
