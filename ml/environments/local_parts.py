"""Wheels and projects that lie in the repository itself, among the packages of its lock."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from common.errors import RejectedError
from ml.environments.locks import list_paths, parse_packages
from ml.sandbox import rmtree

MAX_FILE_BYTES = 16 << 20  # bytes of a file that takes part in a build; data is larger
MAX_FILES = 10_000
MAX_BYTES = 1 << 30
RELATIVE_PATTERN = re.compile(r'\bpath = "(?!/)')


def to_relative_paths(lock: str, source: Path, export: Path) -> str:
    """Return the lock with paths below `export`, where uv found them, relative to its folder `source`."""
    below = "|".join({re.escape(str(export)), re.escape(quote(str(export)))})
    way = os.path.relpath(export, source)
    prefix = "" if way == os.curdir else f"{way}/"

    def shorten(found: re.Match[str]) -> str:
        if found[1]:
            return f"path = {json.dumps(prefix + unquote(found[2]), ensure_ascii=False)}"
        return f'path = "{prefix}{found[2]}"'

    return re.sub(rf'\b(?:url|path) = "(file://)?(?:{below})/((?:[^"\\]|\\.)*)"', shorten, lock)


def to_absolute_paths(lock: str, source: Path) -> str:
    """Return the lock with absolute paths for what it names by the way from the model's folder, `source`."""
    return RELATIVE_PATTERN.sub(f"path = {json.dumps(str(source), ensure_ascii=False)[:-1]}/", lock)


def has_parts(lock: str) -> bool:
    return RELATIVE_PATTERN.search(lock) is not None


def list_projects(lock: str) -> list[str]:
    """Return the folders of the repository that have to be built."""
    return [str(package["directory"]["path"]) for package in parse_packages(lock) if "directory" in package]


def add_digests(lock: str, source: Path, export: Path) -> str:
    """Return the lock with a digest of the bytes that each project of the repository is built from.

    Raises RejectedError for a part that lies elsewhere.
    """
    source, export = source.resolve(), export.resolve()
    for path in (path for package in parse_packages(lock) for path in list_paths(package)):
        if not (source / path).resolve().is_relative_to(export):
            raise RejectedError(f"its packages name {path}: they may not use files outside of the repository")
    lines = [f"# {path!r}: sha256 {hash_project(source / path)}\n" for path in list_projects(lock)]
    return lock + "".join(lines)


def hash_project(project: Path) -> str:
    digest = hashlib.sha256()
    for path in list_files(project):
        name = os.fsencode(path.relative_to(project))
        digest.update(b"%d:%b:%d\0" % (len(name), name, path.stat().st_size))
        with path.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def list_files(project: Path) -> list[Path]:
    """Return the files of a project that take part in its build, also those of linked folders.

    Raises RejectedError for too many.
    """
    return [path for path, length in list_sized_files(project).items() if length <= MAX_FILE_BYTES]


def list_large_files(project: Path) -> list[Path]:
    """Return the files of a project that are too large to take part in its build."""
    return [path for path, length in list_sized_files(project).items() if length > MAX_FILE_BYTES]


def list_sized_files(project: Path) -> dict[Path, int]:
    """Return all files of a project with their sizes in bytes. Raises RejectedError for too many."""
    found: dict[Path, int] = {}
    size = 0
    for folder_count, (folder, folders, names) in enumerate(os.walk(project, followlinks=True)):
        folders[:] = sorted(
            name
            for name in folders
            if name != "__pycache__" and not is_recursive_link(Path(folder, name), project)
        )
        for path in (Path(folder, name) for name in sorted(names)):
            if path.is_file():
                found[path] = length = path.stat().st_size
                size += length if length <= MAX_FILE_BYTES else 0
        if max(len(found), folder_count) > MAX_FILES or size > MAX_BYTES:
            raise RejectedError(
                f"{project.name} is too large to be installed as a package: more than {MAX_FILES:,} files, "
                f"or {MAX_BYTES >> 30} GiB. Move what is no part of it out of its folder"
            )
    return found


def is_recursive_link(path: Path, project: Path) -> bool:
    """Return True for a link to a folder that contains it, itself or by the links on the way to it."""
    if not path.is_symlink():
        return False
    ancestors = [path.parent, *(parent for parent in path.parents if parent.is_relative_to(project))]
    return any(folder.resolve().is_relative_to(path.resolve()) for folder in ancestors)


@contextmanager
def temporary_copy(source: Path, parent: Path, user: int | None) -> Iterator[Path]:
    """Yield a copy of a repository in which the `user` may write, since builds leave files in it."""
    copy = Path(tempfile.mkdtemp(prefix="source-", dir=parent)).resolve()
    try:
        copy_source(source, copy, user)
        yield copy
    finally:
        rmtree.remove_tree(copy)


def copy_source(source: Path, output: Path, user: int | None) -> None:
    """Copy it to a new folder that no other process can reach yet."""
    for path in list_files(source):
        target = output / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    if user is not None:
        for folder, _, names in os.walk(output):
            for made in (Path(folder), *(Path(folder, name) for name in names)):
                os.chown(made, user, user)
