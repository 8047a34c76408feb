"""Who owns, reads and writes the files that a model's user shares with us."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from common.errors import RejectedError, UnavailableError
from ml.sandbox import rmtree, uids
from ml.sandbox.sandbox import PRIVATE_FOLDERS, Sandbox

MODEL_FOLDERS = ("releases", "artifacts")  # folders of these are closed to other models' users


def make_writable(folder: Path, user: int) -> None:
    """Make the model's user the owner of a folder that it may write in.

    Never of its content: its name could be another file's by the time that its owner changes.
    """
    # it was another user's, in an earlier installation of this home
    if folder.stat().st_uid not in (user, os.geteuid()):
        rmtree.remove_tree(folder)
        folder.mkdir()
    os.chown(folder, user, user)
    folder.chmod(0o700)


def check_readable(path: Path, sandbox: Sandbox) -> None:
    """Raise RuntimeError where `path` is the appliance's own or another model's."""
    if not path.is_relative_to(sandbox.home):
        return
    top, *below = path.relative_to(sandbox.home).parts or ("",)
    is_private = not top or top in PRIVATE_FOLDERS or not (sandbox.home / top).is_dir()
    if top == "artifacts":
        is_private = len(below) < 2 or below[0] != sandbox.model
    elif top in ("releases", "environments"):
        is_private = not below
    if not is_private and top == "releases" and below[0].isdecimal():
        owner = uids.find_model(sandbox.home, (sandbox.home / top / below[0]).stat().st_gid)
        is_private = owner not in (None, sandbox.model)
    if is_private:
        raise RuntimeError(f"{path} is not for {sandbox.model} to read")


def grant_read(path: Path, sandbox: Sandbox) -> Path | None:
    """Let the model's user reach `path` and read it; return a closed folder on the way that is not ours."""
    assert sandbox.user is not None
    check_readable(path, sandbox)
    closed = None
    for folder in reversed(path.parents):
        if not folder.is_relative_to(sandbox.home):
            if closed is None and not has_permission(folder, sandbox.user, 0o1):
                closed = folder
        elif folder.parent.parent == sandbox.home and folder.parent.name in MODEL_FOLDERS:
            os.chown(folder, -1, sandbox.user)
            folder.chmod(0o710)
        elif not has_permission(folder, sandbox.user, 0o1):
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o001)
    if not has_permission(path, sandbox.user, 0o4):
        if not path.is_relative_to(sandbox.home):
            raise UnavailableError(
                f"{path} is closed to the user that {sandbox.model} runs as ({sandbox.user}): "
                "open it with chmod o+r"
            )
        path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o055 if path.is_dir() else 0o044))
    return closed


def has_permission(path: Path, user: int, right: int) -> bool:
    """Return True when `user` has the right (4 read, 1 pass) by the file's mode."""
    status = path.stat()
    shift = 6 if status.st_uid == user else 3 if status.st_gid == user else 0
    return bool(status.st_mode >> shift & right)


def chown_tree(folder: Path) -> None:
    """Make us the owner of a tree that the model's user has created; top down, so that it cannot interfere.

    Raises `RejectedError` when it is too deep.
    """
    if os.geteuid() == 0:
        try:
            for _, folders, files, folder_fd in os.fwalk(folder):
                os.fchown(folder_fd, 0, 0)
                for name in (*folders, *files):
                    os.chown(name, 0, 0, dir_fd=folder_fd, follow_symlinks=False)
        except RecursionError as error:
            raise RejectedError("what was built for it has folders within folders without end") from error


def reclaim_output(folder: Path, names: Iterable[str]) -> None:
    """Make us the owner of the plain files of these names in an output folder, and remove the rest.

    Raises `RejectedError` when something else is in their place: a link would be followed into other folders.
    """
    os.chown(folder, os.geteuid(), os.getegid())
    folder.chmod(0o755)
    expected = set(names)
    for path in list(folder.iterdir()):
        status = path.lstat()
        if path.name not in expected:
            rmtree.remove_tree(path) if stat.S_ISDIR(status.st_mode) else path.unlink()
        elif not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise RejectedError(f"it left a link or a folder in the place of Slipway's {path.name}")
        else:
            os.chown(path, os.geteuid(), os.getegid(), follow_symlinks=False)
            path.chmod(0o644)
