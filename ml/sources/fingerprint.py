"""The digest and size of a file or folder of data."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from common.errors import RejectedError

LFS_PREFIX = b"version https://git-lfs.github.com/spec/"


def to_pointer_error(what: str) -> RejectedError:
    return RejectedError(
        f"{what} is a pointer of Git LFS, whose files Slipway does not fetch: "
        "commit the file itself, or give its address in [data]"
    )


def is_inside(path: Path, *folders: Path) -> bool:
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)


def compute_fingerprint(path: Path, location: str, folders: Sequence[Path]) -> tuple[str, int]:
    """Return digest and bytes. A file's digest is of its bytes; a folder's is of its files' names and bytes.

    Raises `RejectedError` for a link that leads out of `folders`.
    """
    digest, size = hashlib.sha256(), 0
    for file in list_files(path):
        if not is_inside(file, *folders):
            raise RejectedError(f"{file.relative_to(path.parent)} is a link out of where {location} may be")
        if not file.is_file():
            raise RejectedError(f"{location} holds {file.name}, which is not a file")
        with file.open("rb") as opened:
            if opened.read(len(LFS_PREFIX)) == LFS_PREFIX:
                raise to_pointer_error(f"{file.name} of {location}")
            opened.seek(0)
            file_digest = hashlib.file_digest(opened, "sha256")
            size += opened.tell()
        if file == path:
            return file_digest.hexdigest(), size
        digest.update(str(file.relative_to(path)).encode())
        digest.update(file_digest.digest())
    return digest.hexdigest(), size


def list_files(path: Path) -> list[Path]:
    """Return all files of a folder, sorted; links to folders are not followed, and count as files."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for folder, folders, files in os.walk(path):
        parent = Path(folder)
        found += [parent / name for name in files]
        found += [parent / name for name in folders if (parent / name).is_symlink()]
    return sorted(found)
