"""The settings of uv in a repository: where its packages come from, and which of them are taken."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from common.errors import RejectedError
from ml.environments.requirement_places import resolve_place
from ml.readers.toml_reader import read_toml

# Nothing that decides what is run, where uv writes, or whom it trusts.
ALLOWED_KEYS = {
    *("index", "index-url", "extra-index-url", "no-index", "find-links", "index-strategy"),
    *("resolution", "prerelease", "exclude-newer", "exclude-newer-package", "dependency-metadata"),
    *("constraint-dependencies", "override-dependencies", "exclude-dependencies"),
    *("build-constraint-dependencies", "extra-build-dependencies", "no-binary", "no-binary-package"),
}
PYPI_HOSTS = ("pypi.org", "www.pypi.org", "pypi.python.org")


def read_settings(source: Path, export: Path) -> dict[str, Any]:
    """Return the keys in ALLOWED_KEYS of `uv.toml`, else of [tool.uv] in pyproject.toml.

    Raises RejectedError for a folder of packages outside of `export`, the repository's files.
    """
    file, document = _read_configuration(source)
    settings = {key: value for key, value in document.items() if key in ALLOWED_KEYS}
    if isinstance(pip := document.get("pip"), dict):
        settings |= {key: value for key, value in pip.items() if key in ALLOWED_KEYS}

    def located(place: Any) -> Any:
        """Return a location of packages; where it is a folder, by its absolute path."""
        if not isinstance(place, str) or ("://" in place and not place.startswith("file:")):
            return place
        return str(resolve_place(place, source, export.resolve(), file))

    for key in ("index-url", "extra-index-url", "find-links"):
        if key in settings:
            value = settings[key]
            settings[key] = [*map(located, value)] if isinstance(value, list) else located(value)
    if "index" in settings:
        settings["index"] = [
            {**index, "url": located(index.get("url"))} for index in _check_tables(settings["index"], file)
        ]
    return settings


def _read_configuration(source: Path) -> tuple[Path, dict[str, Any]]:
    file = source / "uv.toml"
    if file.exists():
        return file, read_toml(file)
    file = source / "pyproject.toml"
    tool = read_toml(file).get("tool") if file.exists() else None
    document = tool.get("uv") if isinstance(tool, dict) else None
    return file, document if isinstance(document, dict) else {}


def _check_tables(indexes: Any, file: Path) -> list[dict[str, Any]]:
    if not isinstance(indexes, list) or not all(isinstance(index, dict) for index in indexes):
        raise RejectedError(
            f"{file.name} has an index that is no table: write [[tool.uv.index]] with a url in it"
        )
    return indexes


def default_index(settings: dict[str, Any]) -> str | None:
    """Return the address of the index that is used in place of PyPI."""
    named = [index.get("url") for index in settings.get("index", []) if index.get("default") is True]
    found = next(iter([*named, settings.get("index-url")]), None)
    return found if isinstance(found, str) else None


def replaces_default(address: str) -> bool:
    """Return True when an index is another than PyPI, for which the operator's default stands."""
    return bool(address) and urlsplit(address).hostname not in PYPI_HOSTS


def to_toml(settings: dict[str, Any]) -> str:
    """Return the text of a `uv.toml`."""
    return "".join(f"{_quote(key)} = {_format_value(value)}\n" for key, value in settings.items())


def _format_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quote(key)} = {_format_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_format_value, value)) + "]"
    return _quote(value)


def _quote(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
