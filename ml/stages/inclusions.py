"""What a repository requires may lead to nothing on this machine but its own files."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ml.errors import Rejected

INCLUDED = re.compile(r"(?:-r|--requirements?|-c|--constraints?|--overrides?)(?:\s*=\s*|\s*)(\S+)")
LOCAL = re.compile(r"(?:-e|--editable|-f|--find-links|-i|--index-url|--extra-index-url)(?:\s*=\s*|\s*)(\S+)")
DIRECT = re.compile(r"@\s*(\S+)")
PATH_KEYS = ("path", "directory", "editable", "virtual", "workspace-member", "find-links")
REMOTE = re.compile(r"(?:git\+|hg\+|svn\+|bzr\+)?(?:https?|ssh)://", re.IGNORECASE)


def check(wanted: Path, source: Path) -> None:
    """`Rejected` when a requirement file, or one that it includes, names a file outside of `source`."""
    source = source.resolve()
    if wanted.suffix == ".txt":
        text_file(wanted, source, set())
        return
    for file in (wanted, source / "pyproject.toml"):
        try:
            document = tomllib.loads(file.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Rejected(f"{file.name} is not TOML: {error}") from error
        for place in places(document):
            inside(place, source, source, file)


def text_file(file: Path, source: Path, seen: set[Path]) -> None:
    if file in seen:
        return
    seen.add(file)
    text = file.read_text(errors="replace").replace("\\\n", "")
    for line in (re.sub(r"(^|\s)#.*", "", raw).strip() for raw in text.splitlines()):
        if found := INCLUDED.match(line):
            if REMOTE.match(found[1]):
                raise Rejected(
                    f"{file.name} includes {found[1]}: requirement files have to be in the repository"
                )
            included = inside(found[1], file.parent, source, file)
            if included.is_file():
                text_file(included, source, seen)
        elif found := LOCAL.match(line) or DIRECT.search(line):
            inside(found[1], source, source, file)
        elif re.match(r"\.|/|~|file:", line):
            inside(line.split(";")[0].split("[")[0], source, source, file)


def places(document: Any, key: str = "") -> Iterator[str]:
    """Every text in a TOML document that names a file."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from places(value, name)
    elif isinstance(document, list):
        for value in document:
            yield from places(value, key)
    elif isinstance(document, str) and (key in PATH_KEYS or "file:" in document):
        yield document.partition("@")[2].strip() if "@" in document and "file:" in document else document


def inside(place: str, base: Path, source: Path, said_by: Path) -> Path:
    """The file in the repository that is meant; addresses elsewhere are nobody's file."""
    place = place.strip("\"' ")
    if REMOTE.match(place):
        return source
    path = Path(base, unquote(urlsplit(place).path) if place.startswith("file:") else place).resolve()
    if not path.is_relative_to(source) or place.startswith("~") or "${" in place:
        raise Rejected(f"{said_by.name} names {place}: it may not use files outside of the repository")
    return path
