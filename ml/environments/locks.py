"""The locked requirements of a release: checks, and conversions to other formats."""

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from common.errors import RejectedError

MAX_LOCK_BYTES = 8 << 20
# a key of ten parts: costly to parse
DOTTED_KEY_PATTERN = re.compile(r"(?<![\w-])[\w-]++(?:\s*+\.\s*+[\w-]++){9}")
# a quote inside a string starts no other string
STRING_PATTERN = re.compile(r'(?<!\\)"(?:[^"\\\n]++|\\.)*+"')
LOGIN_PATTERN = re.compile(r"://[^/@\s\"]+@")


def has_hashes(lock: str) -> bool:
    """Return True for a pylock.toml; older releases have lines such as `name==version`."""
    return lock.lstrip().startswith("lock-version")


def lock_file_name(key: str, lock: str) -> str:
    """Return a name by which uv recognizes the format of the file."""
    return f"pylock.{key.replace('.', '-')}.toml" if has_hashes(lock) else f"{key}.txt"


def check_lock(lock: str) -> None:
    """Raise RejectedError where a lock cannot be stored: it is too long, not TOML, or contains a login."""
    if len(lock) > MAX_LOCK_BYTES:
        raise RejectedError(f"its requirements resolve to more than {MAX_LOCK_BYTES >> 20} MiB of names")
    if DOTTED_KEY_PATTERN.search(STRING_PATTERN.sub('""', lock)):
        raise RejectedError("what its requirements resolve to is no lock of uv's")
    if LOGIN_PATTERN.search(lock):
        raise RejectedError(
            "its requirements name an address with a login, which would be stored in plain text: have the "
            "operator name that index, with its login, in UV_INDEX"
        )
    try:
        packages = [(package, format_requirement(package)) for package in parse_packages(lock)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RejectedError(f"what its requirements resolve to is no lock of uv's: {error!r}") from error
    for package, _ in packages:
        if not is_pinned(package):
            raise RejectedError(
                f"{package.get('name')} has no hash on its index: it cannot be held to what it is now"
            )


def check_hashes(lock: str, pinned: Mapping[str, set[str]]) -> None:
    """Raise RejectedError where a file has another hash than the requirements pin for its package's name."""
    for package in parse_packages(lock):
        expected = pinned.get(normalize_name(str(package["name"])))
        for file in list_package_files(package) if expected else ():
            found = {f"{kind}:{value}".lower() for kind, value in file.get("hashes", {}).items()}
            if expected and not found & {one.lower() for one in expected}:
                raise RejectedError(
                    f"{format_requirement(package)} has a file on its index with another hash "
                    "than the requirements "
                    "pin: if that file is right, pin its hash too (pip-compile --generate-hashes)"
                )


def list_package_files(package: dict[str, Any]) -> list[dict[str, Any]]:
    files = [package[kind] for kind in ("sdist", "archive") if kind in package]
    return [*files, *package.get("wheels", [])]


def normalize_name(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_pinned(package: dict[str, Any]) -> bool:
    """Return True when each file has a hash, or the package is a commit or a part of the repository."""
    files = list_package_files(package)
    if "vcs" in package or "directory" in package:
        return True
    return bool(files) and all(file.get("hashes") for file in files)


@lru_cache(maxsize=64)
def parse_packages(lock: str) -> list[dict[str, Any]]:
    """Return the packages of a pylock.toml, which uv wrote; none of an older lock."""
    if not has_hashes(lock):
        return []
    packages: list[dict[str, Any]] = tomllib.loads(lock).get("packages", [])
    return packages


def list_packages(lock: str) -> list[str]:
    """Return the packages as lines of `name==version`, with an address where that is part of it."""
    if not has_hashes(lock):
        lines = (re.sub(r"\s*--hash=\S+|\s*\\$|;.*$", "", line).strip() for line in lock.splitlines())
        return [line for line in lines if line and not line.startswith("#")]
    return [format_requirement(package) for package in parse_packages(lock)]


def format_requirement(package: dict[str, Any]) -> str:
    name = str(package["name"])
    if "vcs" in package:
        source = package["vcs"]
        below = f"#subdirectory={source['subdirectory']}" if "subdirectory" in source else ""
        return f"{name} @ git+{source.get('url', source.get('path'))}@{source['commit-id']}{below}"
    if "archive" in package and "url" in package["archive"]:
        return f"{name} @ {package['archive']['url']}"
    if "directory" in package:
        return f"{name} @ {package['directory']['path']}"
    return f"{name}=={package['version']}" if "version" in package else name


def list_paths(package: dict[str, Any]) -> list[str]:
    """Return the paths in the repository that a package is installed from."""
    files = [package[kind] for kind in ("directory", "archive") if kind in package] + package.get(
        "wheels", []
    )
    return [str(file["path"]) for file in files if "path" in file]


def list_requirements(lock: str) -> list[str]:
    """Return lines of a requirements.txt that pip installs the same from, with indexes other than PyPI."""
    indexes = {
        str(p["index"]) for p in parse_packages(lock) if "index" in p and "://pypi.org/" not in p["index"]
    }
    markers = {format_requirement(p): str(p["marker"]) for p in parse_packages(lock) if "marker" in p}
    # PyPI may have another package of the same name
    own_parts = {format_requirement(p) for p in parse_packages(lock) if list_paths(p)}
    lines = [f"{line} ; {markers[line]}" if line in markers else line for line in list_packages(lock)]
    lines = [f"# a part of the repository: {line}" if line in own_parts else line for line in lines]
    return [*(f"--extra-index-url {index}" for index in sorted(indexes)), *lines]
