"""The disk is full: the machine's fault, never a commit's."""

import errno
import re
import shutil
from pathlib import Path

ERRORS = (errno.ENOSPC, errno.EDQUOT)
FULL = "the appliance's disk is full: make room in SLIPWAY_HOME"
SAID = re.compile(r"no space left on device|disk quota exceeded|os error (28|122)\b", re.IGNORECASE)
LITTLE = 1 << 20  # bytes


def is_full(place: Path, needed: int = LITTLE) -> bool:
    """Whether fewer than `needed` bytes can be written there: a program may have ended of that unheard."""
    return shutil.disk_usage(place).free < needed


def says_full(text: str) -> bool:
    """Whether a program that failed with these words has found the disk full."""
    return SAID.search(text) is not None
