"""The preflight checks: every cheap check of a repository, made before anything is built."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.errors import RejectedError
from common.system.plain_file import read_start
from ml.environments import interpreters, requirements
from ml.environments.package_files import explain_missing, find_package_file
from ml.manifest import Manifest
from ml.paths import find_export
from ml.readers.syntax_reader import ANY_NAME, read_names
from ml.sources import datasets
from ml.sources.datasets import DataSources
from ml.sources.fingerprint import LFS_PREFIX

MAX_POINTER_BYTES = 1024  # bytes of a Git LFS file that stands in place of the content
MAX_LISTED = 3


def check_repository(source: Path, manifest: Manifest, sources: DataSources, found: list[str]) -> None:
    """Raise RejectedError with every problem: those `found` before, and those found here."""
    checks: list[Callable[[], Any]] = [
        lambda: check_entry_point(source, manifest.model.entry_point),
        lambda: interpreters.check_pin(interpreters.read_requested_python(source)),
        lambda: requirements.read_requirements(find_package_file(source), source, find_export(source)),
        *(
            lambda name=name: datasets.check_presence(name, manifest.data, source, sources)
            for name in datasets.DATASET_NAMES
        ),
    ]
    problems = list(found)
    for check in checks:
        try:
            check()
        except RejectedError as problem:
            problems.append(str(problem))
    problems = list(dict.fromkeys(problems))
    if len(problems) > 1:
        numbered = "; ".join(f"({number}) {problem}" for number, problem in enumerate(problems, 1))
        raise RejectedError(f"{len(problems)} things have to be put right: {numbered}")
    if problems:
        raise RejectedError(problems[0])


def check_entry_point(source: Path, entry_point: str) -> None:
    """Raise RejectedError where the entry point's file is missing, or cannot define it."""
    module, _, name = entry_point.partition(":")
    path = module.replace(".", "/")
    file = next((f for f in (f"{path}.py", f"{path}/__init__.py") if (source / f).is_file()), None)
    if file is None:
        raise RejectedError(
            f"the repository has no {path}.py: Slipway imports `{name}` from it. Add it, or name another "
            "with [model] entry_point in slipway.toml"
        )
    if is_pointer(source / file):
        raise RejectedError(
            f"{file} is a pointer of Git LFS, whose files Slipway does not fetch: commit the file"
        )
    if interpreters.read_requested_python(source) is not None:  # its syntax is that of the requested Python
        return
    defined = read_names(source / file)
    if name not in defined and ANY_NAME not in defined:
        raise RejectedError(
            f"{file} has no `{name}`: end it with `{name} = YourModel()`, an object with the methods train, "
            "evaluate, predict, info"
        )


def is_pointer(path: Path) -> bool:
    return (read_start(path, len(LFS_PREFIX)) or b"").startswith(LFS_PREFIX)


def find_pointers(source: Path) -> Iterator[str]:
    """Yield the files of a repository that are pointers of Git LFS."""
    for path in sorted(source.rglob("*")):
        with suppress(OSError):
            if path.stat(follow_symlinks=False).st_size <= MAX_POINTER_BYTES and is_pointer(path):
                yield str(path.relative_to(source))


def describe_pointers(source: Path) -> str:
    """Return a sentence about pointers of Git LFS in a repository; nothing where it has none."""
    found = list(find_pointers(source))
    if not found:
        return ""
    names = ", ".join(found[:MAX_LISTED]) + (
        f" and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
    )
    return f"of {names} the repository has a pointer of Git LFS alone, whose files Slipway does not fetch"


def explain_failure(source: Path, reason: str) -> str:
    """Return why code of a repository failed, with the cause that its files suggest."""
    if "ModuleNotFoundError: No module named" in reason:
        return f"{reason}. {to_sentence(explain_missing(source))}"
    pointers = describe_pointers(source)
    return f"{reason}. {to_sentence(pointers)}: commit the files themselves" if pointers else reason


def to_sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
