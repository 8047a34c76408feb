"""The working directory of a model's code: a copy of its repository that it can write in.

The repository itself is read-only. Much code of data scientists writes files next to itself
(`open("model.pkl", "wb")`), so it runs in a copy whose files are links.
"""

from __future__ import annotations

import os
from contextlib import suppress

MAX_LINKED_FILES = 5000  # of a larger repository only the top is linked: creating links takes time


def enter_workdir(source: str, repository: str) -> None:
    """Change to the copy at SLIPWAY_WORKPLACE, created when it is missing; without it, to the repository.

    `source` is the model's folder in the repository, or all of it.
    """
    copy = os.environ.get("SLIPWAY_WORKPLACE")
    if copy is None:
        os.chdir(source)
        return
    if not os.path.isdir(copy):
        new = f"{copy}.{os.getpid()}"
        os.mkdir(new)
        if not link_all(repository, new):
            link_top(repository, new, source)
        with suppress(OSError):  # another worker was faster
            os.rename(new, copy)
    os.chdir(os.path.join(copy, os.path.relpath(source, repository)))


def link_all(source: str, copy: str) -> bool:
    count = 0
    for folder, folders, files in os.walk(source):
        target = os.path.join(copy, os.path.relpath(folder, source))
        count += len(files) + len(folders)
        if count > MAX_LINKED_FILES:
            return False
        for name in folders:
            os.makedirs(os.path.join(target, name), exist_ok=True)
        for name in files:
            with suppress(FileExistsError):
                os.symlink(os.path.join(folder, name), os.path.join(target, name))
    return True


def link_top(repository: str, copy: str, source: str) -> None:
    """Link what lies at the top of a repository, and in each folder on the way to `source` and in that."""
    for name in os.listdir(repository):
        path, target = os.path.join(repository, name), os.path.join(copy, name)
        if os.path.isdir(path) and (source + os.sep).startswith(path + os.sep):
            os.makedirs(target, exist_ok=True)
            link_top(path, target, source)
        else:
            with suppress(FileExistsError):
                os.symlink(path, target)
