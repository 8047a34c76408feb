"""The disk is full: the machine's fault, never a commit's."""

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path

ERRORS = (errno.ENOSPC, errno.EDQUOT)
FULL = "the appliance's disk is full: make room in SLIPWAY_HOME"
SAID = re.compile(r"no space left on device|disk quota exceeded|os error (28|122)\b", re.IGNORECASE)
LITTLE = 1 << 20  # bytes


def is_full(place: Path, needed: int = LITTLE) -> bool:
    """Whether fewer than `needed` bytes can be written there: a program may have ended of that unheard."""
    return shutil.disk_usage(place).free < needed


def told(error: OSError, home: Path) -> str:
    """Which disk is full, for a person: that of the file that could not be written, where the error names it.

    `home` is a place on the disk of SLIPWAY_HOME.
    """
    named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else None
    temporary = Path(tempfile.gettempdir())
    other = named or (temporary if is_full(temporary) else home)
    disk = mount_of(other)
    return FULL if disk == mount_of(home) else f"the disk of {disk} is full: make room there"


def mount_of(path: Path) -> Path:
    """Where the disk is mounted that has a path, which need not be there."""
    whole = path.resolve()
    return next(place for place in (whole, *whole.parents) if place.is_mount())


def says_full(text: str) -> bool:
    """Whether a program that failed with these words has found the disk full."""
    return SAID.search(text) is not None
