"""The file of a repository that lists its packages, and the advice for files that are not read."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import RejectedError
from ml.readers.toml_reader import read_toml

DEFAULT_REQUIREMENTS = Path(__file__).parents[2] / "resources/default-environment/requirements.txt"
CONDA_ADVICE = "list the packages in a requirements.txt, with their names on PyPI"
PROJECT_ADVICE = "add a requirements.txt with the line `.`"
# a file that others install from → how to move its content to where it is read
UNREAD_FILES = {
    "uv.lock": "commit its pyproject.toml too",
    "Pipfile": "add a requirements.txt (pipenv requirements > requirements.txt)",
    "environment.yml": CONDA_ADVICE,
    "environment.yaml": CONDA_ADVICE,
    "conda.yml": CONDA_ADVICE,
    "conda.yaml": CONDA_ADVICE,
    "setup.py": PROJECT_ADVICE,
    "setup.cfg": PROJECT_ADVICE,
    "requirements.in": "add a requirements.txt (uv pip compile requirements.in -o requirements.txt)",
    "requirements/base.txt": "add a requirements.txt with the line `-r requirements/base.txt`",
    "requirements/requirements.txt": "add a requirements.txt with `-r requirements/requirements.txt`",
    "pylock.toml": "add the requirements.txt or pyproject.toml that it was made from",
}


@dataclass(frozen=True)
class PackageFile:
    """The file that is read; `note` is a sentence about a file that exists and is not read."""

    path: Path
    note: str = ""
    more: tuple[Path, ...] = ()  # files that complete `path`
    needs_build: bool = False  # only the repository's own build determines the requirements

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path, *self.more)

    @property
    def is_default(self) -> bool:
        return self.path == DEFAULT_REQUIREMENTS

    @property
    def display_name(self) -> str:
        return "the appliance's default" if self.is_default else self.path.name


def find_package_file(source: Path) -> PackageFile:
    """Return `uv.lock`, else `pyproject.toml`, else `requirements.txt`, else the appliance's default.

    Raises RejectedError for a pyproject.toml that is no TOML, or whose [project] is no table.
    """
    document, requirements = read_project(source), source / "requirements.txt"
    project = document.get("project", {})
    if not isinstance(project, dict):
        raise RejectedError(
            f"pyproject.toml has project = {str(project)[:50]!r}, where a table [project] belongs"
        )
    if document and has_file(source, "uv.lock"):
        return PackageFile(source / "uv.lock")
    has_requirements = has_file(source, "requirements.txt")
    if is_dynamic(project):
        if files := list_dependency_files(document):
            return PackageFile(source / files[0], "", tuple(source / name for name in files[1:]))
        return PackageFile(source / "pyproject.toml", needs_build=True)
    if project.get("dependencies"):
        note = "requirements.txt is not read: pyproject.toml names the packages" if has_requirements else ""
        return PackageFile(source / "pyproject.toml", note)
    if has_requirements:
        return PackageFile(requirements, "pyproject.toml names no dependencies" if project else "")
    return PackageFile(DEFAULT_REQUIREMENTS, explain_default(source, document))


def is_dynamic(project: dict[str, Any]) -> bool:
    dynamic = project.get("dynamic")
    return isinstance(dynamic, list) and "dependencies" in dynamic


def list_dependency_files(document: dict[str, Any]) -> list[str]:
    """Return the requirement files that a build by setuptools would read."""
    named = get_table(
        get_table(get_table(get_table(document, "tool"), "setuptools"), "dynamic"), "dependencies"
    ).get("file")
    files = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    return [file for file in files if isinstance(file, str)]


def explain_default(source: Path, document: dict[str, Any]) -> str:
    """Return why the packages are the appliance's default, and how to replace them."""
    if "poetry" in get_table(document, "tool"):
        found, advice = (
            "pyproject.toml has [tool.poetry]",
            "add a requirements.txt (poetry export -o requirements.txt)",
        )
    elif name := next((name for name in UNREAD_FILES if has_file(source, name)), None):
        found, advice = f"the repository has {name}", UNREAD_FILES[name]
    else:
        none = "pyproject.toml names no packages" if "project" in document else "no file names packages"
        return f"{none}: they are the appliance's default. Add a requirements.txt for others"
    return f"{found}, which Slipway does not read: packages are the appliance's default; {advice}"


def explain_missing(source: Path) -> str:
    """Return advice for a module that is missing."""
    found = find_package_file(source)
    return found.note if found.is_default else f"its packages are those of {found.display_name}: add it there"


def read_project(source: Path) -> dict[str, Any]:
    """Return the content of pyproject.toml; an empty document where there is none."""
    return read_toml(source / "pyproject.toml") if has_file(source, "pyproject.toml") else {}


def get_table(document: dict[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def has_file(source: Path, name: str) -> bool:
    """Return True when the file exists, also as a broken link, which is refused when it is read."""
    return os.path.lexists(source / name)
