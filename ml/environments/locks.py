"""What requirements were resolved to, as it is kept with a release."""

import re
import tomllib
from functools import lru_cache
from typing import Any

from ml.errors import Rejected

MAX_LOCK_BYTES = 8 << 20
DOTTED = re.compile(r"[\w-]+(\s*\.\s*[\w-]+){9}")  # a key of ten parts: time grows with their square
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
LOGIN = re.compile(r"://[^/@\s\"]+@")


def has_hashes(lock: str) -> bool:
    """Return whether it is a pylock.toml; older releases have lines as `name==version`."""
    return lock.lstrip().startswith("lock-version")


def file_name(key: str, lock: str) -> str:
    """Return a name by which uv knows what kind of file it is."""
    return f"pylock.{key.replace('.', '-')}.toml" if has_hashes(lock) else f"{key}.txt"


def check_lock(lock: str) -> None:
    """Raise RejectedError where a lock cannot be kept: it is too long, not TOML, or holds a login."""
    if len(lock) > MAX_LOCK_BYTES:
        raise Rejected(f"its requirements resolve to more than {MAX_LOCK_BYTES >> 20} MiB of names")
    if DOTTED.search(STRING.sub('""', lock)):
        raise Rejected("what its requirements resolve to is no lock of uv's")
    if LOGIN.search(lock):
        raise Rejected(
            "its requirements name an address with a login in it, which would be kept in the open: have the "
            "operator name that index, with its login, in UV_INDEX"
        )
    try:
        packages = [(package, line_of(package)) for package in entries(lock)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Rejected(f"what its requirements resolve to is no lock of uv's: {error!r}") from error
    for package, _ in packages:
        if not is_pinned(package):
            raise Rejected(
                f"{package.get('name')} has no hash on its index: it cannot be held to what it is now"
            )


def is_pinned(package: dict[str, Any]) -> bool:
    """Return whether each file has a hash, or the package is a commit, or a part of the repository."""
    files = [package[kind] for kind in ("sdist", "archive") if kind in package] + package.get("wheels", [])
    if "vcs" in package or "directory" in package:
        return True
    return bool(files) and all(file.get("hashes") for file in files)


@lru_cache(maxsize=64)
def entries(lock: str) -> list[dict[str, Any]]:
    """Return the packages of a pylock.toml, which uv wrote; none of an older lock."""
    if not has_hashes(lock):
        return []
    packages: list[dict[str, Any]] = tomllib.loads(lock).get("packages", [])
    return packages


def packages_of(lock: str) -> list[str]:
    """Return what was resolved, a line as `name==version` each, with an address where that is part of it."""
    if not has_hashes(lock):
        lines = (re.sub(r"\s*--hash=\S+|\s*\\$|;.*$", "", line).strip() for line in lock.splitlines())
        return [line for line in lines if line and not line.startswith("#")]
    return [line_of(package) for package in entries(lock)]


def line_of(package: dict[str, Any]) -> str:
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


def requirements_of(lock: str) -> list[str]:
    """Return lines of a requirements.txt that pip installs the same from, with indexes besides PyPI."""
    indexes = {str(p["index"]) for p in entries(lock) if "index" in p and "://pypi.org/" not in p["index"]}
    markers = {line_of(p): str(p["marker"]) for p in entries(lock) if "marker" in p}
    lines = [f"{line} ; {markers[line]}" if line in markers else line for line in packages_of(lock)]
    return [*(f"--extra-index-url {index}" for index in sorted(indexes)), *lines]
