"""Small files beside the large ones: which version it is that lies there."""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from common.durable import publish
from ml.fetch.origin import Version


@dataclass(frozen=True)
class Known:
    version: Version
    sha256: str = ""


def read(path: Path) -> Known | None:
    try:
        document = json.loads(path.read_text())
        return Known(Version(**document["version"]), document["sha256"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write(path: Path, known: Known) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f"{path.suffix}.new")
    new.write_text(json.dumps(asdict(known)))
    publish(new, path)


@cache
def boot() -> str:
    """This start of the machine: after another, a file may be longer than what was written of it."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else "unknown"
