"""The environments of releases: requirements, resolved once, installed once, shared between releases."""

from collections.abc import Sequence
from pathlib import Path

from common.system import filelock
from common.units import format_bytes
from ml import stage_log
from ml.environments import indexes, local_parts, locks, requirements, uv
from ml.environments.environment_builder import EnvironmentBuilder
from ml.environments.interpreters import requested_interpreter
from ml.environments.locked_environment import LockedEnvironment
from ml.environments.package_files import find_package_file
from ml.environments.resolver import Resolver
from ml.paths import HomeLayout, find_export
from ml.sandbox import rmtree
from ml.sandbox.interpreter_record import record_path
from ml.sandbox.sandbox import Sandbox

MAX_LISTED_FILES = 10  # files that one log line lists


def resolve_environment(source: Path, home: HomeLayout, log: Path, sandbox: Sandbox) -> LockedEnvironment:
    """Resolve `uv.lock`, else `pyproject.toml`, else `requirements.txt`, else the appliance's default.

    The result for a file is stored, so that an unchanged file gives an unchanged environment.
    """
    log_line, export = stage_log.stage_logger(log), find_export(source).resolve()
    source = source.resolve()
    python = requested_interpreter(source, home, log, sandbox)
    found = find_package_file(source)
    log_line(f"packages of {found.display_name}, for Python {python.version}")
    if found.note:
        log_line(found.note)
    required = requirements.read_requirements(found, source, export)
    if required.replaces_default and indexes.list_addresses():
        log_line(
            f"it names {indexes.mask_passwords(required.default_index)} in place of the appliance's own index"
        )
    model = "" if found.is_default else sandbox.model
    lender = "" if found.is_default else sandbox.lender
    return Resolver(source, export, python, home, log, sandbox).resolve_lock(required, names=(lender, model))


def model_variant(path: Path, sandbox: Sandbox) -> Path:
    """Return the model's own path, next to the shared one, since code of its packages may have changed it."""
    return path.with_name(f"{path.name}-{sandbox.model}")


def find_environment(resolved: LockedEnvironment, home: HomeLayout, model: str) -> Path | None:
    """Return the environment's folder, or None when it is missing."""
    shared = home.environment_path(resolved.key)
    candidates = (shared, shared.with_name(f"{shared.name}-{model}"))
    return next((f for f in candidates if f.exists() and record_path(f).exists()), None)


def build_environment(
    resolved: LockedEnvironment, home: HomeLayout, log: Path, sandbox: Sandbox, source: Path
) -> Path:
    """Return the environment's folder; build it when it is missing, in one process while others wait.

    `source` is the release's own, not resolved: of what was exported, wheels and projects may be installed.

    An environment of wheels alone is built by uv, which runs none of their code, and shared by all models.
    Where something has to be built first, it is built in the model's sandbox, with a cache of its own, for
    this model alone.
    """
    log_line, export = stage_log.stage_logger(log), find_export(source).resolve()
    if (existing := find_environment(resolved, home, sandbox.model)) is not None:
        log_line(f"environment {existing.name} is already there")
        return existing
    folder = home.environment_path(resolved.key)
    log_line(f"building environment {folder.name} from {len(locks.list_packages(resolved.lock))} packages")
    with filelock.acquire(folder.with_suffix(".lock")):
        if (existing := find_environment(resolved, home, sandbox.model)) is not None:
            log_line(f"another release has built environment {existing.name} meanwhile")
            return existing
        try:
            if not locks.has_hashes(resolved.lock):
                # the same name and version may differ between indexes
                folder = model_variant(folder, sandbox)
            if projects := local_parts.list_projects(resolved.lock):
                log_large_files(projects, source, log_line)
                raise uv.NeedsBuildError("the repository's own projects have to be built")
            EnvironmentBuilder(resolved, home, sandbox, log, source, export).make_environment(folder)
        except uv.NeedsBuildError:
            folder = model_variant(home.environment_path(resolved.key), sandbox)
            with local_parts.temporary_copy(export, log.parent, sandbox.user) as copy:
                copied = copy / source.resolve().relative_to(export)
                builder = EnvironmentBuilder(resolved, home, sandbox, log, copied, copy, allow_builds=True)
                builder.make_environment(folder)
    log_line(f"environment {folder.name} is ready: {format_bytes(rmtree.count_bytes(folder))}")
    return folder


def log_large_files(projects: Sequence[str], source: Path, log_line: stage_log.LogLine) -> None:
    """Log the files that are too large to be installed: a project that misses one fails much later.

    That failure would not name the file.
    """
    large = {path for project in projects for path in local_parts.list_large_files(source / project)}
    if large:
        names = ", ".join(sorted(str(path.relative_to(source)) for path in large)[:MAX_LISTED_FILES])
        log_line(
            "not in the installed project, because larger than "
            f"{format_bytes(local_parts.MAX_FILE_BYTES)}: {names}. "
            "Open such a file by its path in the repository, or name it under [data]"
        )
