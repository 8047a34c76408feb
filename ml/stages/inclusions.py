"""What a repository requires: every file that says so, and nothing on this machine but its own files."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ml.errors import Rejected
from ml.runner.toml_reader import MAX_FILE_BYTES, read_text, read_toml

INCLUDING = (
    *("-r", "--requirement", "--requirements", "-c", "--constraint", "--constraints"),
    *("--override", "--overrides", "--build-constraint", "--build-constraints"),
)
LOCAL = (
    *("-e", "--editable", "-f", "--find-links", "-i", "--index-url", "--extra-index-url"),
    *("--index", "--default-index", "--cert", "--client-cert"),
)
PATH_KEYS = ("path", "directory", "editable", "virtual", "workspace-member", "find-links")
ADDRESS = re.compile(r"(?:(\w+)\+)?(https?|ssh|git|file)://", re.IGNORECASE)
MAX_LOCK_BYTES = 8 << 20  # of uv.lock, which names every file of every package
MAX_FILES = 100  # requirement files that include each other


def check(wanted: Path, source: Path) -> list[Path]:
    """Return the files that say what is required: `wanted`, and all that it includes or names.

    Raises RejectedError when one names a file outside of `source`, or an address that cannot be used.
    """
    source = source.resolve()
    files: list[Path] = []
    if wanted.suffix == ".txt":
        _check_text(wanted, source, files)
        return files
    for file in dict.fromkeys((wanted, source / "pyproject.toml")):
        files.append(file)
        document = read_toml(file, MAX_LOCK_BYTES if file.name == "uv.lock" else MAX_FILE_BYTES)
        for place in places(document):
            files += of_project(inside(place, source, source, file), source)
    return files


def _check_text(file: Path, source: Path, files: list[Path]) -> None:
    if file in files:
        return
    if len(files) == MAX_FILES:
        raise Rejected(f"more than {MAX_FILES} requirement files include each other")
    files.append(file)
    text = read_text(file).replace("\\\n", "")
    for line in (re.sub(r"(^|\s)#.*", "", raw).strip() for raw in text.splitlines()):
        for option, value in options(line, file):
            if option in INCLUDING:
                if ADDRESS.match(value) and not value.startswith("file:"):
                    raise Rejected(
                        f"{file.name} includes {value}: requirement files have to be in the repository"
                    )
                included = inside(value, file.parent, source, file)
                if included.is_file():
                    _check_text(included, source, files)
            else:
                files += of_project(inside(value, source, source, file), source)


def options(line: str, file: Path) -> Iterator[tuple[str, str]]:
    """Yield what a line names: options with their values, and with no option places that it requires."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise Rejected(f"{file.name} has a line that cannot be read: {line[:100]!r} ({error})") from error
    named = sorted((*INCLUDING, *LOCAL), key=len, reverse=True)
    for place, word in enumerate(words):
        for option in named:
            if word == option or word.startswith(option + "="):
                following = words[place + 1] if place + 1 < len(words) else ""
                yield option, word.partition("=")[2] if "=" in word else following
                break
            if len(option) == 2 and word.startswith(option) and not word.startswith("--"):
                yield option, word[2:]  # as `-rmore.txt`
                break
        else:
            if place == 0 and re.match(r"\.|/|~|file:|\w+\+", word):
                yield "", word.split(";")[0].split("[")[0]
    if found := re.search(r"@\s*(\S+)", line):
        yield "", found[1]


def places(document: Any, key: str = "") -> Iterator[str]:
    """Yield every text in a TOML document that names a file or an address of git."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from places(value, name)
    elif isinstance(document, list):
        for value in document:
            yield from places(value, key)
    elif isinstance(document, str) and (key in PATH_KEYS or "file:" in document or key == "git"):
        yield document.partition("@")[2].strip() if "@" in document and "file:" in document else document


def inside(place: str, base: Path, source: Path, said_by: Path) -> Path:
    """Return the file in the repository that is meant; addresses elsewhere are nobody's file."""
    place = place.strip("\"' ")
    if (address := ADDRESS.match(place)) and address[2].lower() != "file":
        check_address(place, address, said_by)
        return source
    plain = re.sub(r"^\w+\+(?=file:)", "", place)
    path = Path(base, unquote(urlsplit(plain).path) if plain.startswith("file:") else place).resolve()
    if not path.is_relative_to(source) or place.startswith("~") or "${" in place:
        raise Rejected(f"{said_by.name} names {place}: it may not use files outside of the repository")
    if plain != place:
        raise Rejected(f"{said_by.name} names {place}: a repository in the repository cannot be installed")
    return path


def check_address(place: str, address: re.Match[str], said_by: Path) -> None:
    """Raise RejectedError for an address that uv could not use here."""
    system, scheme = (address[1] or "").lower(), address[2].lower()
    if system not in ("", "git"):
        raise Rejected(f"{said_by.name} names {place}: of version control, only git+https:// can be used")
    if scheme in ("ssh", "git"):
        raise Rejected(
            f"{said_by.name} names {place}: packages come by https alone, write git+https:// and, for a "
            "private repository, publish the package on an index"
        )


def of_project(place: Path, source: Path) -> list[Path]:
    """Return the file that is named, or all files of a project in the repository, which may decide it."""
    if place.is_file():
        return [place]
    if place == source or not place.is_dir():
        return []
    found = [Path(folder, name) for folder, _, names in os.walk(place) for name in names]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())[:10_000]
