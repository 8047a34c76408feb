"""A trained model as a file, with the digest of its bytes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Artifact:
    """The bytes that a model's `train` returned; `sha256` is in hexadecimal."""

    path: Path
    sha256: str
