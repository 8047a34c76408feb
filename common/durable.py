"""Finished work renamed into place so that a power cut leaves it whole, or not there."""

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)


def publish(new: Path, place: Path) -> None:
    """Rename a file or a folder, with all that it holds on the disk before it has its name.

    A file at `place` is replaced. Raises `OSError` where the disk does not take it.
    """
    _sync(new)
    new.replace(place)
    _sync_entry(place.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not path.is_dir():
            os.fsync(descriptor)
        elif _libc.syncfs(descriptor):  # all of its file system: cheaper than each file of a tree
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    finally:
        os.close(descriptor)


def _sync_entry(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
