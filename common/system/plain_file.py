"""Safe reads of untrusted files: no link is followed, no pipe waited for, no size trusted."""

import os
import stat
from pathlib import Path


def read_start(path: Path, max_bytes: int) -> bytes | None:
    """Return the first `max_bytes` of a plain file; None where there is none, or something else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(max_bytes)
