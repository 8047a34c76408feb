"""Secrets that are made once and kept in files of their own, closed to other users."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path


def read(path: Path) -> str | None:
    """The secret in the file, None when there is none; raises `OSError` when it is somebody else's."""
    with suppress(FileNotFoundError):
        return path.read_text().strip() or None
    return None


def make(path: Path) -> bool:
    """See that there is one; True when it was made now. Of several that try at once, one makes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if read(path):
        return False
    descriptor, new = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(new)  # unlike a rename, it never takes the place of another's
    except FileExistsError:
        return False
    finally:
        Path(new).unlink()
    return True
