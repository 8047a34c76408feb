"""Garbage collection: removes pruned artifacts, folders of ended releases, unused environments."""

import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from loguru import logger

from common.system import filelock
from db.models import Release
from db.states import Status
from ml.environments.locked_environment import LockedEnvironment
from ml.paths import DRIFT_SUFFIX, HomeLayout
from ml.sandbox import rmtree
from ml.sandbox.interpreter_record import read_records
from ml.sources.fetch import cache

UNUSED = 24 * 3600  # seconds after which an environment that no retained release needs is removed
RETAINED_NAMES = ("logs", "builder.lock")  # names that stay in a release's folder
DATA_SUFFIXES = (".data", ".data.new")  # of what a killed process may have left: also rows that users sent
SCRATCH_PREFIXES = ("source-", "uv-")  # see local_parts.temporary_copy and uv.run
# seconds that the logs of a release stay after it is no longer retained
LOG_RETENTION_SECONDS = 30 * 24 * 3600


def sweep_releases(home: HomeLayout, retained: Sequence[Release]) -> None:
    """Reduce each release's own files to what `retained` needs; skip those that are in use.

    A builder and a preview lock theirs. May be interrupted at any point. `retained` includes every release
    that a builder may be started for meanwhile.
    """
    needed = {release.id for release in retained}
    unbuilt = {release.id for release in retained if release.status in (Status.QUEUED, Status.BUILDING)}
    for folder in list_numbered(home.root / "releases"):
        if filelock.is_locked(folder / "builder.lock") or filelock.is_locked(
            home.preview_lock(int(folder.name))
        ):
            continue
        rmtree.remove_tree(home.preview_scratch(int(folder.name)))
        remove_scratch(folder / "logs")
        if int(folder.name) not in needed:
            clear_release(folder)
            if not has_recent_logs(folder / "logs"):
                rmtree.remove_tree(folder)
        elif int(folder.name) not in unbuilt:
            rmtree.remove_tree(folder / "data")  # its training data is not needed again
            remove_old(list_data(folder))
    for model in list_children(home.root / "artifacts"):
        for artifact in list_children(model):
            number = artifact.name.removesuffix(DRIFT_SUFFIX)
            if number.isdecimal() and int(number) not in needed:
                artifact.unlink()


def sweep_shared(home: HomeLayout, retained: Sequence[Release]) -> None:
    """Reduce what releases share to what `retained` needs. Call it while nothing is built or scored."""
    sweep_environments(home, {key for release in retained for key in list_environment_keys(release)})
    sweep_interpreters(home)
    cache.sweep_cache(home.data_cache)


def find_unfollowed(home: HomeLayout, models: Sequence[str]) -> list[str]:
    """Return the models that have trained artifacts here and are not in `models`."""
    names = [folder.name.partition("@")[0] for folder in list_children(home.root / "artifacts")]
    return [name for name in dict.fromkeys(names) if name not in models]


def has_recent_logs(logs: Path) -> bool:
    try:
        return time.time() - logs.stat().st_mtime < LOG_RETENTION_SECONDS
    except FileNotFoundError:
        return False


def list_environment_keys(release: Release) -> set[str]:
    """Return the keys of the environments it was built in and would run in now: an upgrade may change it."""
    keys = {release.environment} if release.environment else set()
    if release.lock is not None and release.python is not None:
        keys.add(LockedEnvironment(release.lock, release.python).key)
    return keys


def clear_release(folder: Path) -> None:
    """Remove all of a release's folder but its logs."""
    for child in list_children(folder):
        if child.name in RETAINED_NAMES:
            continue
        if child.is_dir() and not child.is_symlink():
            rmtree.remove_tree(child)
        else:
            child.unlink(missing_ok=True)


def remove_scratch(logs: Path) -> None:
    """Remove what a killed builder has left next to its logs: copies of sources, logins of indexes.

    A server of the release may rebuild its environment meanwhile.
    """
    remove_old(child for child in list_children(logs) if child.name.startswith(SCRATCH_PREFIXES))


def list_data(folder: Path) -> Iterable[Path]:
    """Return data sets that scores, retrainings and the monitor have read for a release."""
    return (child for child in list_children(folder) if child.name.endswith(DATA_SUFFIXES))


def remove_old(folders: Iterable[Path]) -> None:
    """Remove the folders that are older than a day, by a time that nobody can set: none is used so long."""
    for folder in folders:
        is_folder = folder.is_dir() and not folder.is_symlink()
        if is_folder and time.time() - folder.stat().st_ctime > UNUSED:
            rmtree.remove_tree(folder)


def sweep_environments(home: HomeLayout, needed: set[str]) -> None:
    """Remove environments and locks that no retained release needs and that were not touched for a day."""
    for entry in list_children(home.root / "environments"):
        key = re.split("[.-]", entry.name, maxsplit=1)[0]  # KEY.lock, KEY-model
        if key in needed or time.time() - entry.stat().st_mtime < UNUSED:
            continue
        if entry.is_dir():
            logger.info("environment {} is no longer used: it is removed", entry.name)
            rmtree.remove_tree(entry)
        else:
            entry.unlink(missing_ok=True)


def sweep_interpreters(home: HomeLayout) -> None:
    """Remove downloaded Pythons that no environment uses and that were not touched for a day."""
    used = {record.executable for record in read_records(home.root / "environments")}
    for entry in list_children(home.pythons):
        if entry.is_symlink() or not entry.is_dir() or entry.name.startswith("."):
            continue  # uv's own: its lock, its scratch, and a link for each minor version
        is_used = any(executable.is_relative_to(entry.resolve()) for executable in used)
        if not is_used and time.time() - entry.stat().st_mtime > UNUSED:
            logger.info("no environment uses {} any more: it is removed", entry.name)
            rmtree.remove_tree(entry)


def list_children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def list_numbered(folder: Path) -> Iterable[Path]:
    """Return the children that are named by a release's number."""
    return (child for child in list_children(folder) if child.name.isdecimal())
