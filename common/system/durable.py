"""Atomic, durable renames: after a power cut finished work is complete, or not there."""

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)


def move_into_place(new: Path, target: Path) -> None:
    """Rename a file or a folder, once all of its content is on the disk.

    A file at `target` is replaced. Raises `OSError` where the disk does not take it.
    """
    _fsync_tree(new)
    new.replace(target)
    _fsync_folder(target.parent)


def _fsync_tree(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not path.is_dir():
            os.fsync(descriptor)
        elif _libc.syncfs(descriptor):  # its whole file system: cheaper than each file of a tree
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    finally:
        os.close(descriptor)


def _fsync_folder(folder: Path) -> None:
    """Write a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
