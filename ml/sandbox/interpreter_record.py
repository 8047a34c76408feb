"""The record of an environment's interpreter, stored next to its folder, where no package can write."""

import json
from dataclasses import dataclass
from pathlib import Path

from common.system.durable import move_into_place


@dataclass(frozen=True)
class Interpreter:
    """A Python outside of all environments; `executable` is resolved, `version` such as `3.11.7`."""

    executable: Path
    version: str

    @property
    def minor(self) -> str:
        """The name of its program and of its folder of packages, such as `python3.11`."""
        return "python" + ".".join(self.version.split(".")[:2])

    @property
    def prefixes(self) -> list[Path]:
        """The folders that it needs to run, without `/` (the parent of `/bin`, a link to `/usr/bin`)."""
        return sorted({self.executable.parent.parent, self.executable.resolve().parent.parent} - {Path("/")})


def record_path(environment: Path) -> Path:
    return environment.with_name(environment.name + ".json")


def write_record(environment: Path, interpreter: Interpreter) -> None:
    """Record next to `environment` which interpreter it uses; without that it counts as missing."""
    path = record_path(environment)
    written = path.with_name(path.name + ".new")
    written.write_text(
        json.dumps({"executable": str(interpreter.executable), "version": interpreter.version})
    )
    move_into_place(written, path)


def read_record(environment: Path) -> Interpreter:
    """Return what `write_record` stored. Nothing in the environment's own folder is read.

    Raises FileNotFoundError when there is no record.
    """
    return read_interpreter(record_path(environment))


def read_records(environments: Path) -> list[Interpreter]:
    """Return the interpreters of all environments in a folder, as `write_record` stored them."""
    return [read_interpreter(path) for path in environments.glob("*.json")]


def read_interpreter(record: Path) -> Interpreter:
    document = json.loads(record.read_text())
    return Interpreter(Path(document["executable"]), document["version"])
