"""Detection of a full disk: the machine's fault, never a commit's."""

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path

FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
FULL_MESSAGE = "the appliance's disk is full: make room in SLIPWAY_HOME"
FULL_PATTERN = re.compile(r"no space left on device|disk quota exceeded|os error (28|122)\b", re.IGNORECASE)
MIN_FREE_BYTES = 1 << 20  # bytes
# nearly full: fewer bytes are free than this share of the disk, but for the bounds
LOW_SHARE, MIN_LOW_BYTES, MAX_LOW_BYTES = 0.05, 1 << 30, 10 << 30
RECOVERED_FACTOR = 1.2  # of that, until it is not nearly full any more


def is_full(place: Path, needed_bytes: int = MIN_FREE_BYTES) -> bool:
    """Return whether fewer than `needed_bytes` are free there: a program may have failed of that silently."""
    return shutil.disk_usage(place).free < needed_bytes


def read_usage(place: Path) -> "shutil._ntuple_diskusage":
    """Return the bytes of the disk that a path is on; the path need not exist."""
    return shutil.disk_usage(find_mount(place))


def is_nearly_full(usage: "shutil._ntuple_diskusage", *, was: bool) -> bool:
    """Return whether little of a disk is free; one that `was` nearly full has to have some more."""
    low = min(max(usage.total * LOW_SHARE, MIN_LOW_BYTES), MAX_LOW_BYTES)
    return usage.free < (low * RECOVERED_FACTOR if was else low)


def describe_full(error: OSError, home: Path) -> str:
    """Name the full disk for a person: that of the file in the error, where the error names one.

    `home` is a path on the disk of SLIPWAY_HOME.
    """
    named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else None
    temporary = Path(tempfile.gettempdir())
    other = named or (temporary if is_full(temporary) else home)
    disk = find_mount(other)
    return FULL_MESSAGE if disk == find_mount(home) else f"the disk of {disk} is full: make room there"


def find_mount(path: Path) -> Path:
    """Return the mount point of the disk that a path is on; the path need not exist."""
    resolved = path.resolve()
    return next(parent for parent in (resolved, *resolved.parents) if parent.is_mount())


def is_disk_full_message(text: str) -> bool:
    """Return whether a failed program's output shows a full disk."""
    return FULL_PATTERN.search(text) is not None
