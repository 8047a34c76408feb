"""What an environment was made of, kept beside its folder, where no package can write."""

import json
from dataclasses import dataclass
from pathlib import Path

from common.durable import publish


@dataclass(frozen=True)
class Interpreter:
    """A Python outside of all environments; `executable` is resolved, `version` as `3.11.7`."""

    executable: Path
    version: str

    @property
    def minor(self) -> str:
        """The name of its program and of its folder of packages, as `python3.11`."""
        return "python" + ".".join(self.version.split(".")[:2])

    @property
    def prefixes(self) -> list[Path]:
        """The folders that it needs to run, without `/` (of `/bin`, which is `/usr/bin`)."""
        return sorted({self.executable.parent.parent, self.executable.resolve().parent.parent} - {Path("/")})


def record_path(environment: Path) -> Path:
    return environment.with_name(environment.name + ".json")


def write_record(environment: Path, interpreter: Interpreter) -> None:
    """Keep beside `environment` which interpreter it belongs to; without that it counts as missing."""
    path = record_path(environment)
    written = path.with_name(path.name + ".new")
    written.write_text(
        json.dumps({"executable": str(interpreter.executable), "version": interpreter.version})
    )
    publish(written, path)


def read_record(environment: Path) -> Interpreter:
    """Return what `write_record` kept. Nothing in the environment's own folder is asked.

    Raises FileNotFoundError when nothing was kept.
    """
    kept = json.loads(record_path(environment).read_text())
    return Interpreter(Path(kept["executable"]), kept["version"])
