"""Takes away what nothing needs any more: pruned artifacts, rooms of ended releases, environments."""

import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from loguru import logger

from db.models import Release, Status
from ml import flock
from ml.fetch import cache
from ml.home import Home
from ml.runner import trees
from ml.stages.environment import Resolved

UNUSED = 24 * 3600  # seconds after which an environment that no kept release needs is taken away
LOGS = ("logs", "builder.lock")  # what stays of a release's folder
LOGS_KEPT = 30 * 24 * 3600  # seconds that the logs of a release stay that is not kept


def sweep(home: Home, kept: Sequence[Release]) -> None:
    """Bring what each release has of its own to what `kept` needs; what a builder holds is left as it is.

    May be cut off at any point. `kept` has every release that a builder may be started for meanwhile.
    """
    needed = {release.id for release in kept}
    unbuilt = {release.id for release in kept if release.status in (Status.QUEUED, Status.BUILDING)}
    for folder in numbered(home.root / "releases"):
        if flock.is_held(folder / "builder.lock"):
            continue
        if int(folder.name) not in needed:
            empty(folder)
            if not is_young(folder / "logs"):
                trees.remove(folder)
        elif int(folder.name) not in unbuilt:
            trees.remove(folder / "data")  # what it was trained on is not needed again
    for model in children(home.root / "artifacts"):
        for artifact in numbered(model):
            if int(artifact.name) not in needed:
                artifact.unlink()


def sweep_shared(home: Home, kept: Sequence[Release]) -> None:
    """Bring what releases share to what `kept` needs. Call it while nothing is built or scored."""
    sweep_environments(home, {key for release in kept for key in environments_of(release)})
    cache.sweep(home.data_cache)


def is_young(logs: Path) -> bool:
    try:
        return time.time() - logs.stat().st_mtime < LOGS_KEPT
    except FileNotFoundError:
        return False


def environments_of(release: Release) -> set[str]:
    """The keys of the environments that it was made in and would run in now, which an upgrade may change."""
    keys = {release.environment} if release.environment else set()
    if release.lock is not None and release.python is not None:
        keys.add(Resolved(release.lock, release.python).key)
    return keys


def empty(folder: Path) -> None:
    """All of a release's folder but its logs."""
    for child in children(folder):
        if child.name in LOGS:
            continue
        if child.is_dir() and not child.is_symlink():
            trees.remove(child)
        else:
            child.unlink(missing_ok=True)


def sweep_environments(home: Home, needed: set[str]) -> None:
    """Environments and resolutions that no kept release was made from and that were not touched for a day."""
    for entry in children(home.root / "environments"):
        key = re.split("[.-]", entry.name, maxsplit=1)[0]  # KEY.lock, KEY-model
        if key in needed or time.time() - entry.stat().st_mtime < UNUSED:
            continue
        if entry.is_dir():
            logger.info("environment {} is not used any more: it is taken away", entry.name)
            trees.remove(entry)
        else:
            entry.unlink(missing_ok=True)


def children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def numbered(folder: Path) -> Iterable[Path]:
    """The children that are named by a release's number."""
    return (child for child in children(folder) if child.name.isdecimal())
