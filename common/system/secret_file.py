"""Secrets that are generated once and stored in their own files, closed to other users."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path


def read(path: Path) -> str | None:
    """Return the secret in the file, None when there is none; raises `OSError` when another user owns it."""
    with suppress(FileNotFoundError):
        return path.read_text().strip() or None
    return None


def create_if_missing(path: Path) -> bool:
    """Generate the secret if there is none; return True if this call did so. Concurrent calls make one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if read(path):
        return False
    descriptor, new = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(new)  # unlike a rename, it never replaces another process's file
    except FileExistsError:
        return False
    finally:
        Path(new).unlink()
    return True
