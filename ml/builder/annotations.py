"""The places in a repository's files that the tracebacks of a failed stage name; logs are untrusted."""

import re
import stat
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

from common.text import make_storable
from db.check_runs import MAX_ANNOTATIONS, Annotation
from ml.paths import find_export

MAX_MESSAGE_CHARS, MAX_PATH_CHARS = 500, 400
MAX_FILE_BYTES = 512 << 10
MAX_PARTS = 40  # of a path
FRAME = re.compile(r'\s*File "([^"]{1,1024})", line (\d{1,7})(?:, in |$)')
PYTEST_ERROR = re.compile(r"(\S{1,400}\.py):(\d{1,7}): (?!in )(\S.*)")  # tests/test_it.py:7: AssertionError


def find_annotations(lines: Iterable[str], release: Path, source: Path) -> tuple[Annotation, ...]:
    """Return where each traceback ends in the repository, with its error.

    `source` has the model's files, `release` also the copies of them that model code runs in.
    """
    real, named = release.resolve(), f'File "{release}/'
    lines = (line.replace(named, f'File "{real}/', 1) for line in lines)  # a link may lead to it
    found = dict.fromkeys(_find_all(lines, real, source))
    return tuple(found)[-MAX_ANNOTATIONS:]


def _find_all(lines: Iterable[str], release: Path, source: Path) -> Iterator[Annotation]:
    export = find_export(source).resolve()
    folder = PurePosixPath(source.resolve().relative_to(export))
    deepest: tuple[str, int] | None = None
    for line in lines:
        if frame := FRAME.match(line):
            deepest = find_place(frame[1], int(frame[2]), release, export, folder) or deepest
        elif error := PYTEST_ERROR.fullmatch(line):
            if place := find_place(error[1], int(error[2]), release, export, folder):
                yield Annotation(*place, to_message(error[3]))
        elif deepest and line[:1].strip():  # what is indented is code
            yield Annotation(*deepest, to_message(line))
            deepest = None


def find_place(
    name: str, line: int, release: Path, export: Path, folder: PurePosixPath
) -> tuple[str, int] | None:
    """Return path and line in the repository; None where that is no line of a file of it.

    A name that is not absolute is read from `folder`, that of the model in the repository.
    """
    path = PurePosixPath(name)
    is_copy = path.is_absolute() and not path.is_relative_to(export)
    if is_copy and not path.is_relative_to(release):
        return None
    # without the folder of the export, or of the copy
    parts = path.relative_to(release).parts[1:] if path.is_absolute() else join_parts(folder, path)
    if not 0 < len(parts) <= MAX_PARTS or ".." in parts or "\0" in name or make_storable(name) != name:
        return None
    for start in range(len(parts) if is_copy else 1):  # a copy may lie deeper
        relative = PurePosixPath(*parts[start:])
        if len(str(relative)) <= MAX_PATH_CHARS and has_line(export / relative, export, line):
            return str(relative), line
    return None


def join_parts(folder: PurePosixPath, path: PurePosixPath) -> tuple[str, ...]:
    """Return the parts of a path that is read from a folder, which it may lead out of by `..` at first."""
    base, parts = list(folder.parts), list(path.parts)
    while base and parts[:1] == [".."]:
        base.pop()
        parts.pop(0)
    return (*base, *parts)


def has_line(file: Path, source: Path, line: int) -> bool:
    """Return whether this is a regular file of the repository, no link leads to it, and it has the line."""
    try:
        found = file.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_FILE_BYTES or file.resolve() != file:
            return False
        return file.is_relative_to(source) and 1 <= line <= count_lines(file)
    except OSError:
        return False


@lru_cache(maxsize=64)
def count_lines(file: Path) -> int:
    return len(file.read_bytes().splitlines())


def to_message(line: str) -> str:
    return make_storable(line, MAX_MESSAGE_CHARS)
