"""The files, folders and addresses that requirements name, and which of them may be used."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from common.errors import RejectedError
from ml.environments.local_parts import list_files

# text that looks like a path or a repository: `./lib`, `wheels/x.whl`, `file:…`, `git+…`
LOCAL_PLACE_PATTERN = re.compile(r"\.|/|~|file:|\w+\+|[^@\s]*(/|\.whl|\.zip|\.tar\.\w+|\.tgz)")
PATH_KEYS = ("path", "directory", "editable", "virtual", "workspace-member", "find-links")
ADDRESS_PATTERN = re.compile(r"(?:(\w+)\+)?(https?|ssh|git|file)://", re.IGNORECASE)


def check_in_repository(path: Path, export: Path) -> Path:
    """Return `path`. Raises RejectedError where it leads out of the repository, itself or by links."""
    if not path.resolve().is_relative_to(export.resolve()):
        raise RejectedError(f"{path} is not in the repository")
    return path


def find_places(document: Any, key: str = "") -> Iterator[str]:
    """Yield every text in a TOML document that names a file or an address of git."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from find_places(value, name)
    elif isinstance(document, list):
        for value in document:
            yield from find_places(value, key)
    elif isinstance(document, str) and (key in PATH_KEYS or "file:" in document or key == "git"):
        yield document.partition("@")[2].strip() if "@" in document and "file:" in document else document


def resolve_place(place: str, base: Path, export: Path, named_by: Path) -> Path | None:
    """Return the file in the repository that is meant; None for an address elsewhere."""
    place = place.strip("\"' ")
    if "${" in place:
        raise RejectedError(
            f"{named_by.name} names {place}: variables are not filled in, write what is meant"
        )
    if (address := ADDRESS_PATTERN.match(place)) and address[2].lower() != "file":
        check_address(place, address, named_by)
        return None
    plain = re.sub(r"^\w+\+(?=file:)", "", place)
    path = Path(base, unquote(urlsplit(plain).path) if plain.startswith("file:") else place).resolve()
    if not path.is_relative_to(export) or place.startswith("~"):
        raise RejectedError(f"{named_by.name} names {place}: it may not use files outside of the repository")
    if plain != place:
        raise RejectedError(
            f"{named_by.name} names {place}: a repository in the repository cannot be installed"
        )
    return path


def check_address(place: str, address: re.Match[str], named_by: Path) -> None:
    """Raise RejectedError for an address that uv could not use here."""
    system, scheme = (address[1] or "").lower(), address[2].lower()
    if system not in ("", "git"):
        raise RejectedError(
            f"{named_by.name} names {place}: of version control, only git+https:// can be used"
        )
    if scheme in ("ssh", "git"):
        raise RejectedError(
            f"{named_by.name} names {place}: packages come by https alone, write git+https:// and, for a "
            "private repository, publish the package on an index"
        )


def list_project_files(place: Path | None) -> list[Path]:
    """Return the named file, or all files of a project in the repository, which may affect the result."""
    if place is None:
        return []
    return [place] if place.is_file() else list_files(place)
