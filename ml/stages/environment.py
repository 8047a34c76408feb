"""Environment: what the repository requires, resolved once, installed once, shared between releases."""

import hashlib
import platform
import re
import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from ml import flock
from ml.errors import Rejected
from ml.home import Home
from ml.runner import uv

DEFAULT = Path(__file__).parents[2] / "resources/default-environment/requirements.txt"


@dataclass(frozen=True)
class Resolved:
    """Everything that an environment is made from; the same key, the same environment."""

    lock: str  # exact requirements, a line each
    python: str  # the interpreter's version, as `3.11.7`

    @property
    def key(self) -> str:
        parts = (self.lock, self.python, platform.machine(), platform.libc_ver()[0])
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def resolve(source: Path, home: Home, log: Path) -> Resolved:
    """From `uv.lock`, else `pyproject.toml`, else `requirements.txt`, else the appliance's default.

    What was resolved once for a file is kept, so that an unchanged file gives an unchanged environment.
    """
    python, version = interpreter(source, home, log)
    wanted, arguments = requirements(source)
    told = "\0".join((wanted.name, *(path.read_text() for path in inputs(source, wanted)), version))
    kept = home.root / "environments/resolved" / hashlib.sha256(told.encode()).hexdigest()[:24]
    if not kept.exists():
        lock = uv.run([*arguments, "--python", python], cwd=source, cache=cache(home), log=log)
        kept.parent.mkdir(parents=True, exist_ok=True)
        written = kept.with_suffix(".new")
        written.write_text("".join(line for line in lock.splitlines(True) if not line.startswith("#")))
        written.rename(kept)
    return Resolved(kept.read_text(), version)


def requirements(source: Path) -> tuple[Path, list[str | Path]]:
    """The file that says what is required, and how uv is asked to resolve it."""
    compiled: list[str | Path] = ["pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    if (source / "uv.lock").exists() and (source / "pyproject.toml").exists():
        exported = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes"]
        return source / "uv.lock", [*exported, "--no-header", "--no-annotate"]
    if (source / "pyproject.toml").exists() and "project" in toml(source / "pyproject.toml"):
        return source / "pyproject.toml", [*compiled, source / "pyproject.toml"]
    if (source / "requirements.txt").exists():
        return source / "requirements.txt", [*compiled, source / "requirements.txt"]
    return DEFAULT, [*compiled, DEFAULT]


def inputs(source: Path, wanted: Path) -> list[Path]:
    """The files whose change asks for a new resolution; other requirement files may be included by name."""
    others = {*source.glob("*.txt"), *source.glob("*.in"), *source.glob("requirements/*.txt")}
    if wanted.name == "requirements.txt" and wanted != DEFAULT:
        return [wanted, *sorted(path for path in others if path != wanted and path.stat().st_size < 1 << 20)]
    return [wanted]


def interpreter(source: Path, home: Home, log: Path) -> tuple[Path, str]:
    """The Python that the repository asks for, else the appliance's own: its path and version."""
    pin = requested(source)
    if pin is None:
        return Path(sys.executable).resolve(), platform.python_version()
    try:
        found = uv.run(
            ["python", "find", "--no-project", pin], cwd=source, cache=cache(home), log=log
        ).strip()
    except Rejected as error:
        raise Rejected(
            f"it asks for Python {pin}, and this appliance has {platform.python_version()} and cannot get "
            f"another: widen .python-version or requires-python ({error})"
        ) from error
    asked = uv.run(
        ["python", "find", "--no-project", "--show-version", found], cwd=source, cache=cache(home), log=log
    )
    return Path(found), asked.strip()


def requested(source: Path) -> str | None:
    """`.python-version`, else `requires-python` where our own interpreter does not satisfy it."""
    if (source / ".python-version").exists():
        lines = (source / ".python-version").read_text().split()
        return lines[0] if lines else None
    if (source / "pyproject.toml").exists():
        wanted = toml(source / "pyproject.toml").get("project", {}).get("requires-python")
        return str(wanted) if wanted else None
    return None


def toml(path: Path) -> dict[str, dict[str, str]]:
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Rejected(f"{path.name} is not TOML: {error}") from error


def build(resolved: Resolved, home: Home, log: Path) -> Path:
    """The environment's folder; made when it is missing, by one process while others wait for it."""
    folder = home.environment(resolved.key)
    if folder.exists():
        return folder
    with flock.hold(folder.with_suffix(".lock")):
        if folder.exists():
            return folder  # another process has made it while this one waited
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        lock = folder.with_suffix(".txt")
        lock.write_text(resolved.lock)
        own = resolved.python == platform.python_version()
        python = Path(sys.executable).resolve() if own else resolved.python
        uv.run(
            ["venv", "--quiet", "--relocatable", "--python", python, new],
            cwd=new,
            cache=cache(home),
            log=log,
        )
        if re.search(r"^\s*[^#\s]", resolved.lock, re.MULTILINE):
            options = ["--quiet", "--compile-bytecode", "--link-mode=copy", "--no-deps"]
            uv.run(
                ["pip", "install", *options, "--python", new / "bin/python", "--requirements", lock],
                cwd=new,
                cache=cache(home),
                log=log,
            )
        new.rename(folder)
    return folder


def cache(home: Home) -> Path:
    return home.root / "cache/uv"
