"""Environment: what the repository requires, resolved once, installed once, shared between releases."""

import hashlib
import platform
import re
import sys
import tomllib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ml import flock, stagelog
from ml.errors import Rejected, Unavailable
from ml.home import Home
from ml.runner import sandbox, trees, uv
from ml.runner.sandbox import Sandbox
from ml.stages import inclusions

DEFAULT = Path(__file__).parents[2] / "resources/default-environment/requirements.txt"
PIN = re.compile(r"(?!-)[\w@.+<>=!~^*, -]+")  # no path, no option


@dataclass(frozen=True)
class Resolved:
    """Everything that an environment is made from; the same key, the same environment."""

    lock: str  # exact requirements, a line each
    python: str  # the interpreter's version, as `3.11.7`

    @property
    def key(self) -> str:
        parts = (self.lock, self.python, platform.machine(), platform.libc_ver()[0])
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def resolve(source: Path, home: Home, log: Path, held: Sandbox) -> Resolved:
    """From `uv.lock`, else `pyproject.toml`, else `requirements.txt`, else the appliance's default.

    What was resolved once for a file is kept, so that an unchanged file gives an unchanged environment.
    """
    python, version = interpreter(source, home, log, held)
    wanted, arguments = requirements(source)
    place = "the appliance's default" if wanted == DEFAULT else wanted.name
    stagelog.to(log)(f"packages of {place}, for Python {version}")
    if wanted != DEFAULT:
        inclusions.check(wanted, source)
    told = "\0".join((wanted.name, *(path.read_text() for path in inputs(source, wanted)), version))
    shared = home.root / "environments/resolved" / hashlib.sha256(told.encode()).hexdigest()[:24]
    own = of_model(shared, held)
    for kept in (shared, own):
        if kept.exists():
            return Resolved(kept.read_text(), version)
    arguments, reads = [*arguments, "--python", python], [python, DEFAULT]
    try:
        lock = uv.run(arguments, cwd=source, cache=cache(home), log=log, sandbox=held, reads=reads)
        kept = shared
    except uv.Foreign:
        where = own_cache(home, held)
        lock = uv.run(arguments, cwd=source, cache=where, log=log, sandbox=held, reads=reads, foreign=True)
        kept = own
    kept.parent.mkdir(parents=True, exist_ok=True)
    written = kept.with_suffix(".new")
    written.write_text("".join(line for line in lock.splitlines(True) if not line.startswith("#")))
    written.rename(kept)
    return Resolved(kept.read_text(), version)


def of_model(path: Path, held: Sandbox) -> Path:
    """The model's own, beside the one that all share: code of its packages has had a hand in it."""
    return path.with_name(f"{path.name}-{held.model}")


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


def interpreter(source: Path, home: Home, log: Path, held: Sandbox) -> tuple[Path, str]:
    """The Python that the repository asks for, else the appliance's own: its path and version.

    Looked for outside of the repository: a Python that lies in there is foreign code.
    """
    pin = requested(source)
    if pin is None:
        return Path(sys.executable).resolve(), platform.python_version()
    if not PIN.fullmatch(pin):
        raise Rejected(f"it asks for Python {pin[:100]!r}: name a version there, as 3.11 or >=3.10")
    where = cache(home)
    where.mkdir(parents=True, exist_ok=True)
    ask = partial(uv.run, cwd=where.parent, cache=where, log=log, sandbox=held)
    find = ["python", "find", "--no-project", "--system"]
    try:
        found = ask([*find, pin]).strip()
    except Rejected:
        try:
            ask(["python", "install", "--no-bin", pin])
            found = ask([*find, pin]).strip()
        except (Rejected, Unavailable) as error:
            raise Rejected(
                f"it asks for Python {pin}, and this appliance has {platform.python_version()} and cannot "
                f"get another: widen .python-version or requires-python ({error})"
            ) from error
    return Path(found), ask([*find, "--show-version", found]).strip()


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
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, a number or a nesting without end
        raise Rejected(f"{path.name} is not TOML: {error}") from error


def find(resolved: Resolved, home: Home, model: str) -> Path | None:
    """The environment's folder, when it is there."""
    shared = home.environment(resolved.key)
    return next((f for f in (shared, shared.with_name(f"{shared.name}-{model}")) if f.exists()), None)


def build(resolved: Resolved, home: Home, log: Path, held: Sandbox) -> Path:
    """The environment's folder; made when it is missing, by one process while others wait for it.

    Of wheels alone it is made by uv, which runs none of their code, and shared by all models. Where something
    has to be built first, it is made in the model's sandbox, with a cache of its own, for this model alone.
    """
    say = stagelog.to(log)
    if (there := find(resolved, home, held.model)) is not None:
        say(f"environment {there.name} is there already")
        return there
    folder = home.environment(resolved.key)
    say(f"environment {folder.name} is made: {len(resolved.lock.splitlines())} packages")
    with flock.hold(folder.with_suffix(".lock")):
        if (there := find(resolved, home, held.model)) is not None:
            return there  # another process has made it while this one waited
        try:
            make(resolved, folder, cache(home), log, held, foreign=False)
        except uv.Foreign:
            folder = of_model(folder, held)
            make(resolved, folder, own_cache(home, held), log, held, foreign=True)
    return folder


def make(resolved: Resolved, folder: Path, where: Path, log: Path, held: Sandbox, *, foreign: bool) -> None:
    """The environment in a folder beside, renamed into place when it is whole."""
    new = folder.with_suffix(".new")
    trees.remove(new)
    new.mkdir(parents=True)
    lock = folder.with_suffix(".txt")
    lock.write_text(resolved.lock)
    base = resolved.python if resolved.python != platform.python_version() else Path(sys.executable).resolve()
    in_new = partial(uv.run, cwd=new, cache=where, log=log, sandbox=held, writes=[new], foreign=foreign)
    try:
        in_new(["venv", "--quiet", "--relocatable", "--allow-existing", "--python", base, new])
        if re.search(r"^\s*[^#\s]", resolved.lock, re.MULTILINE):
            options: list[str | Path] = ["--quiet", "--link-mode=copy", "--no-deps"]
            options += ["--python", new / "bin/python", "--requirements", lock]
            in_new(["pip", "install", *options], reads=[lock])
    except BaseException:
        trees.remove(new)
        raise
    sandbox.own_again(new)
    uv.compile_bytecode(new, log, held)
    new.rename(folder)


def cache(home: Home) -> Path:
    """Shared by all models: only uv itself writes it."""
    return home.root / "cache/uv"


def own_cache(home: Home, held: Sandbox) -> Path:
    return home.root / "cache" / f"uv-{held.model}"
