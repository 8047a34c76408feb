"""The check of requirement files: all that they include, and no path of this machine but their own."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import RejectedError
from ml.environments.locks import normalize_name
from ml.environments.requirement_places import (
    ADDRESS_PATTERN,
    LOCAL_PLACE_PATTERN,
    find_places,
    list_project_files,
    resolve_place,
)
from ml.readers.toml_reader import MAX_FILE_BYTES, read_text, read_toml

INCLUDE_OPTIONS = (
    *("-r", "--requirement", "--requirements", "-c", "--constraint", "--constraints"),
    *("--override", "--overrides", "--build-constraint", "--build-constraints"),
)
LOCAL_OPTIONS = (
    *("-e", "--editable", "-f", "--find-links", "-i", "--index-url", "--extra-index-url"),
    *("--index", "--default-index", "--cert", "--client-cert"),
)
# uv ends the name of a file at its line's end or at `#`, and supports no escapes: a shell reads it otherwise
INCLUSION_PATTERN = re.compile(
    rf"""({"|".join(INCLUDE_OPTIONS)})(=|[ \t]+|(?<=-[rc]))(["']?)[^\s#"'\\]+\3([ \t]+#.*)?"""
)
HASH_PATTERN = re.compile(r"--hash[=\s]\s*(\w+:[0-9a-fA-F]+)")
EDITABLE_OPTIONS = ("-e", "--editable")
DEFAULT_INDEX_OPTIONS = ("-i", "--index-url", "--default-index")
MAX_LOCK_BYTES = 8 << 20  # bytes of uv.lock, which names every file of every package
MAX_FILES = 100  # requirement files that include each other


@dataclass
class Inclusions:
    """The content of requirement files: `files` are these, and all that they include or name."""

    files: list[Path] = field(default_factory=list)
    indexes: list[str] = field(default_factory=list)  # used in place of PyPI
    has_projects: bool = False  # of the repository: they may have to be built
    # the hashes that a package's files have to have, by its name
    hashes: dict[str, set[str]] = field(default_factory=dict)


def check_inclusions(requirements_file: Path, source: Path, export: Path | None = None) -> Inclusions:
    """Return what `requirements_file` includes and names, by the way from `source`.

    Raises RejectedError when one names a file outside of `export`, by default `source`, or an address that
    cannot be used.
    """
    source, export = source.resolve(), (export or source).resolve()
    found = Inclusions()
    if requirements_file.suffix not in (".toml", ".lock"):
        _check_text(requirements_file, source, export, found)
        return found
    for file in dict.fromkeys((requirements_file, source / "pyproject.toml")):
        found.files.append(file)
        document = read_toml(file, MAX_LOCK_BYTES if file.name == "uv.lock" else MAX_FILE_BYTES)
        for place in find_places(document):
            project = resolve_place(place, source, export, file)
            # the repository itself is not installed
            found.files += list_project_files(None if project == source else project)
    return found


def _check_text(file: Path, source: Path, export: Path, found: Inclusions) -> None:
    if file in found.files:
        return
    if len(found.files) == MAX_FILES:
        raise RejectedError(f"more than {MAX_FILES} requirement files include each other")
    found.files.append(file)
    raw = re.sub(r"\r\n?", "\n", read_text(file)).split("\n")
    lines = [re.sub(r"(^|\s)#.*", "", line) for line in raw]  # no comment continues on the next line
    for number, line in enumerate(lines):
        is_continued = "".join(lines[max(number - 1, 0) : number]).rstrip().endswith("\\")
        found.has_projects |= _check_option(raw[number], line, is_continued, file)
    for line in logical_lines(lines):
        if hashes := HASH_PATTERN.findall(line):
            found.hashes.setdefault(normalize_name(re.split(r"[^\w.-]", line)[0]), set()).update(hashes)
        for option, value in parse_options(line, file):
            if option in INCLUDE_OPTIONS:
                if ADDRESS_PATTERN.match(value) and not value.startswith("file:"):
                    raise RejectedError(
                        f"{file.name} includes {value}: requirement files have to be in the repository"
                    )
                included = resolve_place(value, file.parent, export, file)
                if included is not None and included.is_file():
                    _check_text(included, source, export, found)
            else:
                found.indexes += [value] if option in DEFAULT_INDEX_OPTIONS else []
                project = resolve_place(value, source, export, file)
                found.files += list_project_files(project)
                is_folder = project is not None and not project.is_file()
                found.has_projects |= option in EDITABLE_OPTIONS or (option == "" and is_folder)


def logical_lines(lines: list[str]) -> list[str]:
    """Return the logical lines, with any white space as a plain one."""
    joined = "\n".join(lines).replace("\\\n", "")
    return [re.sub(r"\s", " ", line).strip() for line in joined.split("\n")]


def _check_option(raw: str, line: str, is_continued: bool, file: Path) -> bool:
    """Return True when uv takes a line, `raw` with its comment, for an editable project.

    Raises RejectedError for an option that uv could read in another way than a shell does.
    """
    option = re.sub(r"\s", " ", line).strip()
    if not option.startswith("-") or option.startswith("--hash"):
        return False
    if is_continued or option.endswith("\\"):
        raise RejectedError(f"{file.name} has {option[:100]!r} over several lines: write the option in one")
    if option.startswith(INCLUDE_OPTIONS) and not INCLUSION_PATTERN.fullmatch(raw.strip(" \t")):
        raise RejectedError(
            f"{file.name} has {option[:100]!r}: write it as `-r other.txt`, on a line of its own"
        )
    return option.startswith(EDITABLE_OPTIONS)


def parse_options(line: str, file: Path) -> Iterator[tuple[str, str]]:
    """Yield what a line names: options with their values, and required paths under an empty option."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise RejectedError(
            f"{file.name} has a line that cannot be read: {line[:100]!r} ({error})"
        ) from error
    options = sorted((*INCLUDE_OPTIONS, *LOCAL_OPTIONS), key=len, reverse=True)
    for index, word in enumerate(words):
        for option in options:
            if word == option or word.startswith(option + "="):
                next_word = words[index + 1] if index + 1 < len(words) else ""
                yield option, word.partition("=")[2] if "=" in word else next_word
                break
            if len(option) == 2 and word.startswith(option) and not word.startswith("--"):
                yield option, word[2:]  # such as `-rmore.txt`
                break
        else:
            if index == 0 and LOCAL_PLACE_PATTERN.match(word):
                yield "", word.split(";")[0].split("[")[0]
    if found := re.search(r"@\s*(\S+)", line):
        yield "", found[1]
