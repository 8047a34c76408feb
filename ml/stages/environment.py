"""Environment: what the repository requires, resolved once, installed once, shared between releases."""

import hashlib
import os
import platform
import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common.durable import publish
from ml import flock, stagelog
from ml.environments import assemble, locks
from ml.environments.record import Interpreter, record_path, write_record
from ml.errors import Rejected, Unavailable
from ml.home import Home
from ml.runner import indexes, sandbox, trees, uv
from ml.runner.sandbox import Sandbox
from ml.runner.toml_reader import read_text, read_toml
from ml.stages import inclusions

DEFAULT = Path(__file__).parents[2] / "resources/default-environment/requirements.txt"
FORMAT = "2"  # of environments: one that an older version of Slipway made is not used, but made again
LOCK_FORMAT = ("--no-header", "--no-annotate", "--format", "pylock.toml")
MAX_PIN_BYTES = 4 << 10  # of .python-version
PIN = re.compile(r"(?!-)[\w@.+<>=!~^*, -]+")  # no path, no option


@dataclass(frozen=True)
class Resolved:
    """Everything that an environment is made from; the same key, the same environment."""

    lock: (
        str  # as pylock.toml (PEP 751) with a hash of each file; of older releases, a `name==version` a line
    )
    python: str  # the interpreter's version, as `3.11.7`

    @property
    def key(self) -> str:
        parts = (FORMAT, self.lock, self.python, platform.machine(), platform.libc_ver()[0])
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def resolve(source: Path, home: Home, log: Path, held: Sandbox) -> Resolved:
    """From `uv.lock`, else `pyproject.toml`, else `requirements.txt`, else the appliance's default.

    What was resolved once for a file is kept, so that an unchanged file gives an unchanged environment.
    """
    python = requested_interpreter(source, home, log, held)
    wanted, arguments = requirements(source)
    place = "the appliance's default" if wanted == DEFAULT else wanted.name
    stagelog.to(log)(f"packages of {place}, for Python {python.version}")
    files = [wanted] if wanted == DEFAULT else inclusions.check(wanted, source)
    kept = home.locks / key_of(files, source, "" if wanted == DEFAULT else held.model, python)
    if kept.exists():
        return Resolved(kept.read_text(), python.version)
    arguments, reads = [*arguments, "--python", python.executable], [*python.prefixes, DEFAULT]
    run = partial(uv.run, arguments, cwd=source, pythons=home.pythons, log=log, sandbox=held, reads=reads)
    try:
        lock = run(cache=home.package_cache)
    except uv.Foreign:
        lock = run(cache=home.own_package_cache(held.model), foreign=True)
    locks.check_lock(lock)
    kept.parent.mkdir(parents=True, exist_ok=True)
    written = kept.with_suffix(".new")
    written.write_text("".join(line for line in lock.splitlines(True) if not line.startswith("#")))
    publish(written, kept)
    return Resolved(kept.read_text(), python.version)


def key_of(files: list[Path], source: Path, model: str, python: Interpreter) -> str:
    """Return what a resolution is kept by: every file that it was made from, whose it is, and the Python.

    Never shared between models: what one model's index answered is no other model's lock.
    """
    made = hashlib.sha256()
    parts = [FORMAT, model, python.version, platform.machine(), *indexes.addresses()]
    for part in parts:
        made.update(f"{len(part)}:{part}\0".encode())
    for file in files:
        name = os.fsencode(os.path.relpath(file.resolve(), source.resolve()))  # not always text
        made.update(b"%d:%b:%d\0" % (len(name), name, file.stat().st_size))
        with file.open("rb") as content:
            made.update(hashlib.file_digest(content, "sha256").digest())
    return made.hexdigest()[:32]


def of_model(path: Path, held: Sandbox) -> Path:
    """The model's own, beside the one that all share: code of its packages has had a hand in it."""
    return path.with_name(f"{path.name}-{held.model}")


def requirements(source: Path) -> tuple[Path, list[str | Path]]:
    """The file that says what is required, and how uv is asked to resolve it."""
    compiled: list[str | Path] = ["pip", "compile", "--quiet", *LOCK_FORMAT]
    if (source / "uv.lock").exists() and (source / "pyproject.toml").exists():
        exported = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project"]
        return source / "uv.lock", [*exported, *LOCK_FORMAT]
    if (source / "pyproject.toml").exists() and "project" in read_toml(source / "pyproject.toml"):
        return source / "pyproject.toml", [*compiled, source / "pyproject.toml"]
    if (source / "requirements.txt").exists():
        return source / "requirements.txt", [*compiled, source / "requirements.txt"]
    return DEFAULT, [*compiled, DEFAULT]


def requested_interpreter(source: Path, home: Home, log: Path, held: Sandbox) -> Interpreter:
    """Return the Python that the repository asks for, else the appliance's own.

    Raises RejectedError where it asks for one that cannot be had.
    """
    pin = requested(source)
    if pin is None:
        return own_interpreter()
    if not PIN.fullmatch(pin):
        raise Rejected(f"it asks for Python {pin[:100]!r}: name a version there, as 3.11 or >=3.10")
    return find_interpreter(pin, home, log, held)


def own_interpreter() -> Interpreter:
    return Interpreter(Path(sys.executable).resolve(), platform.python_version())


def find_interpreter(pin: str, home: Home, log: Path, held: Sandbox) -> Interpreter:
    """Return a Python of that version, fetched where this machine has none.

    It is looked for outside of the repository: a Python that lies in there is foreign code.
    """
    home.pythons.mkdir(parents=True, exist_ok=True)
    ask = partial(
        uv.run, cwd=home.pythons, cache=home.package_cache, pythons=home.pythons, log=log, sandbox=held
    )
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
    return Interpreter(Path(found).resolve(), ask([*find, "--show-version", found]).strip())


def requested(source: Path) -> str | None:
    """`.python-version`, else `requires-python` where our own interpreter does not satisfy it."""
    if (source / ".python-version").exists():
        lines = read_text(source / ".python-version", MAX_PIN_BYTES).split()
        return lines[0] if lines else None
    if (source / "pyproject.toml").exists():
        project = read_toml(source / "pyproject.toml").get("project")
        wanted = project.get("requires-python") if isinstance(project, dict) else None
        return str(wanted) if wanted else None
    return None


def find(resolved: Resolved, home: Home, model: str) -> Path | None:
    """The environment's folder, when it is there."""
    shared = home.environment(resolved.key)
    both = (shared, shared.with_name(f"{shared.name}-{model}"))
    return next((f for f in both if f.exists() and record_path(f).exists()), None)


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
    say(f"environment {folder.name} is made: {len(locks.packages_of(resolved.lock))} packages")
    with flock.hold(folder.with_suffix(".lock")):
        if (there := find(resolved, home, held.model)) is not None:
            return there  # another process has made it while this one waited
        try:
            if not locks.has_hashes(resolved.lock):
                folder = of_model(folder, held)  # what a name and a version mean is for each index to say
            Maker(resolved, home, held, log).make(folder)
        except uv.Foreign:
            folder = of_model(home.environment(resolved.key), held)
            Maker(resolved, home, held, log, foreign=True).make(folder)
    return folder


@dataclass(frozen=True)
class Maker:
    """Makes one environment; with `foreign`, code of packages runs while they are built."""

    resolved: Resolved
    home: Home
    held: Sandbox
    log: Path
    foreign: bool = False

    def make(self, folder: Path) -> None:
        """Install in a staging folder, put the environment together from it, rename that into place."""
        base = own_interpreter()
        if self.resolved.python != base.version:
            base = find_interpreter(self.resolved.python, self.home, self.log, self.held)
        staged, new = folder.with_suffix(".staged"), folder.with_suffix(".new")
        try:
            for made in (folder, staged, new):  # `folder`: its record is missing, so nothing is known of it
                trees.remove(made)
            staged.mkdir(parents=True)
            new.mkdir()
            self.install(staged.resolve(), base)
            assemble.assemble(staged, new, base)
            write_record(folder, base)
            publish(new, folder)
        finally:
            trees.remove(staged)
            trees.remove(new)

    def install(self, staged: Path, base: Interpreter) -> None:
        """Have uv install what was resolved into `staged`, which is ours and checked when it returns."""
        lock = staged.with_name(locks.file_name(staged.stem, self.resolved.lock))
        lock.write_text(self.resolved.lock)
        own = self.home.own_package_cache(self.held.model)
        run = partial(
            uv.run,
            cwd=staged,
            cache=own if self.foreign else self.home.package_cache,
            pythons=self.home.pythons,
            log=self.log,
            sandbox=self.held,
            writes=[staged],
            foreign=self.foreign,
        )
        venv: list[str | Path] = ["venv", "--quiet", "--relocatable", "--allow-existing", "--python"]
        run([*venv, base.executable, staged], reads=base.prefixes)
        configuration = assemble.read_configuration(staged)
        if locks.packages_of(self.resolved.lock):
            options: list[str | Path] = ["--quiet", "--link-mode=copy", "--no-deps"]
            options += ["--python", staged / "bin/python", "--requirements", lock]
            if not locks.has_hashes(self.resolved.lock):
                # what is in the cache is told apart by its hash alone: locks of others say from where it is
                options.append("--no-cache")
            run(["pip", "install", *options], reads=[lock, *base.prefixes], lock=lock)
        uv.compile_bytecode(staged, base, self.log, self.held, foreign=self.foreign)
        sandbox.own_again(staged)
        assemble.secure_tree(staged)
        assemble.check_staged(staged, configuration, base)
