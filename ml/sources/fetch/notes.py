"""Small metadata files next to the large ones: the version that is stored there."""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from common.system.durable import move_into_place
from ml.sources.fetch.origin import FileVersion


@dataclass(frozen=True)
class FileMetadata:
    version: FileVersion
    sha256: str = ""


def read_metadata(path: Path) -> FileMetadata | None:
    try:
        document = json.loads(path.read_text())
        return FileMetadata(FileVersion(**document["version"]), document["sha256"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_metadata(path: Path, metadata: FileMetadata) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f"{path.suffix}.new")
    new.write_text(json.dumps(asdict(metadata)))
    move_into_place(new, path)


@cache
def read_boot_id() -> str:
    """Return the id of this boot: after another one, a file may be longer than what was written of it."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else "unknown"
