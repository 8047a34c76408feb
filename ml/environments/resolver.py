"""The resolution of requirements to a lock, which is stored by everything that it was made from."""

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from common.system.durable import move_into_place
from ml import stage_log
from ml.environments import indexes, local_parts, locks, uv
from ml.environments.locked_environment import FORMAT_VERSION, LockedEnvironment
from ml.environments.package_files import DEFAULT_REQUIREMENTS
from ml.environments.requirements import Requirements
from ml.paths import HomeLayout
from ml.sandbox.interpreter_record import Interpreter
from ml.sandbox.sandbox import Sandbox


@dataclass(frozen=True)
class Resolver:
    """The resolver of one release's requirements; `source` is its folder in `export`, both resolved."""

    source: Path
    export: Path
    python: Interpreter
    home: HomeLayout
    log: Path
    sandbox: Sandbox

    def resolve_lock(self, required: Requirements, *, names: Sequence[str]) -> LockedEnvironment:
        """Return the stored lock of these requirements, or resolve and store it.

        `names` are of the models that may have stored it; it is stored for the last one.
        """
        files = [
            self.home.locks
            / compute_lock_key(required.files, self.source, [name, *required.key_parts], self.python)
            for name in names
        ]
        if not any(stored.exists() for stored in files):
            stage_log.stage_logger(self.log)("resolving versions")
            with write_pins(required.pins, self.log.parent) as pins:
                lock = self.run_uv(required, pins)
            store_lock(lock, files[-1], self.source, self.export, required.hashes)
        stored = next(file for file in files if file.exists())
        return LockedEnvironment(stored.read_text(), self.python.version)

    def run_uv(self, required: Requirements, pins: Sequence[Path]) -> str:
        """Return uv's lock of these requirements, within the versions in the files `pins`."""
        constraints: list[str | Path] = [word for file in pins for word in ("--constraints", file)]
        run = partial(
            uv.run,
            [*required.arguments, *constraints, "--python", self.python.executable],
            pythons=self.home.pythons,
            log=self.log,
            sandbox=self.sandbox,
            configuration=required.configuration,
            without_default=required.replaces_default,
        )
        reads = [*self.python.prefixes, DEFAULT_REQUIREMENTS, self.export, *pins]
        try:
            if required.needs_build:  # uv builds what is editable in any case
                raise uv.NeedsBuildError("the repository's own projects may have to be built")
            return run(cwd=self.source, cache=self.home.package_cache, reads=reads)
        except uv.NeedsBuildError:
            with local_parts.temporary_copy(self.export, self.log.parent, self.sandbox.user) as copy:
                model_cache = self.home.model_package_cache(self.sandbox.model)
                cwd = copy / self.source.relative_to(self.export)
                cwd.mkdir(parents=True, exist_ok=True)
                lock = run(cwd=cwd, cache=model_cache, reads=reads, writes=[copy], allow_builds=True)
                return local_parts.to_relative_paths(lock, cwd, copy)


@contextmanager
def write_pins(pins: str, folder: Path) -> Iterator[list[Path]]:
    """Yield the files, none or one, with the versions that are given already."""
    if not pins:
        yield []
        return
    with TemporaryDirectory(prefix="pins-", dir=folder) as name:
        file = Path(name).resolve() / "pins.txt"
        file.parent.chmod(0o711)
        file.write_text(pins)
        file.chmod(0o644)
        yield [file]


def store_lock(lock: str, file: Path, source: Path, export: Path, hashes: Mapping[str, set[str]]) -> None:
    """Check a new lock, and move it into place."""
    lock = "".join(line for line in lock.splitlines(True) if not line.startswith("#"))
    lock = local_parts.to_relative_paths(lock, source, export)
    locks.check_lock(lock)
    locks.check_hashes(lock, hashes)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(local_parts.add_digests(lock, source, export))
    move_into_place(new, file)


def compute_lock_key(files: list[Path], source: Path, more: list[str], python: Interpreter) -> str:
    """Return the key that a lock is stored by: every file it was made from, the model, and the Python.

    A lock is never shared between models: the answer of one model's index is no other model's lock.
    """
    digest = hashlib.sha256()
    parts = [FORMAT_VERSION, *more, python.version, platform.machine(), *indexes.list_addresses()]
    for part in parts:
        digest.update(f"{len(part)}:{part}\0".encode())
    for file in files:
        name = os.fsencode(os.path.relpath(file.resolve(), source.resolve()))  # not always text
        digest.update(b"%d:%b:%d\0" % (len(name), name, file.stat().st_size))
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:32]
