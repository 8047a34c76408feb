"""The working directory of a model's code: a copy of its repository that it can write in.

The repository itself is read-only. Much code of data scientists writes files next to itself
(`open("model.pkl", "wb")`), so it runs in a copy whose files are links.
"""

from __future__ import annotations

import os
from contextlib import suppress

MAX_LINKED_FILES = 5000  # of a larger repository only the top is linked: creating links takes time


def enter_workdir(source: str) -> None:
    """Change to the copy at SLIPWAY_WORKPLACE, created when it is missing; without it, to the repository."""
    copy = os.environ.get("SLIPWAY_WORKPLACE")
    if copy is None:
        os.chdir(source)
        return
    if not os.path.isdir(copy):
        new = f"{copy}.{os.getpid()}"
        os.mkdir(new)
        if not link_all(source, new):
            link_top(source, new)
        with suppress(OSError):  # another worker was faster
            os.rename(new, copy)
    os.chdir(copy)


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


def link_top(source: str, copy: str) -> None:
    for name in os.listdir(source):
        with suppress(FileExistsError):
            os.symlink(os.path.join(source, name), os.path.join(copy, name))
