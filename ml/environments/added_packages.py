"""Packages that are installed besides a release's own: those of its tests."""

import re
from dataclasses import replace
from pathlib import Path

from common.errors import RejectedError
from ml import stage_log
from ml.environments import locks, requirements
from ml.environments.interpreters import requested_interpreter
from ml.environments.locked_environment import LockedEnvironment
from ml.environments.package_files import PackageFile
from ml.environments.requirement_places import check_in_repository
from ml.environments.resolver import Resolver
from ml.paths import HomeLayout, find_export
from ml.sandbox.sandbox import Sandbox

PACKAGE_PATTERN = re.compile(r"^\[\[packages\]\]$", re.MULTILINE)


def add_packages(
    locked: LockedEnvironment, file: Path, source: Path, *, home: HomeLayout, log: Path, sandbox: Sandbox
) -> LockedEnvironment:
    """Return the environment of a release with the packages that `file`, a requirements.txt, lists.

    The release's own packages keep their versions. Raises `RejectedError` when both do not go together.
    """
    log_line, export = stage_log.stage_logger(log), find_export(source).resolve()
    source = source.resolve()
    if not check_in_repository(source / file, export).is_file():
        raise RejectedError(f"[test] requirements names {file}, and the repository has no such file")
    python = requested_interpreter(source, home, log, sandbox)
    log_line(f"packages of {file}, beside those of the model")
    pins = "".join(f"{line}\n" for line in locks.list_packages(locked.lock) if " @ " not in line)
    required = replace(requirements.read_requirements(PackageFile(source / file), source, export), pins=pins)
    added = Resolver(source, export, python, home, log, sandbox).resolve_lock(
        required, names=(sandbox.lender, sandbox.model)
    )
    return LockedEnvironment(merge_locks(locked.lock, added.lock), locked.python)


def merge_locks(lock: str, more: str) -> str:
    """Return a lock with the packages of both; those of `lock` win."""
    known = {locks.normalize_name(str(package["name"])) for package in locks.parse_packages(lock)}
    blocks = PACKAGE_PATTERN.split(more)[1:]
    names = [locks.normalize_name(str(package["name"])) for package in locks.parse_packages(more)]
    new = [block for name, block in zip(names, blocks, strict=True) if name not in known]
    merged = lock.rstrip("\n") + "".join(f"\n\n[[packages]]{block.rstrip()}" for block in new) + "\n"
    locks.check_lock(merged)
    return merged
