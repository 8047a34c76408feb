"""The paths in a git repository that settings name: relative, normalised, and never git's own files."""

from pathlib import PurePosixPath

MAX_PATH_CHARS = 400
GIT_FOLDER = ".git"


def check_repository_path(name: str) -> str:
    """Return the normalised path; raises ValueError for one that no file of a repository has."""
    path = PurePosixPath(name)
    is_relative = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    is_plain = name.isprintable() and len(name) <= MAX_PATH_CHARS
    if not is_relative or not is_plain or GIT_FOLDER in map(str.casefold, path.parts):
        raise ValueError(f"{name[:100]!r} is not a path in the repository, as models/churn")
    return str(path)


def list_outermost(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths that lie in no other of them, sorted."""
    ends = [PurePosixPath(path) for path in paths]
    return tuple(sorted({str(path) for path in ends if not set(path.parents) & set(ends)}))
