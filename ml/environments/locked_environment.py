"""The value that determines an environment: its lock and its Python."""

import hashlib
import platform
from dataclasses import dataclass

FORMAT_VERSION = "3"  # of environments: one of an older format is not used, but built again


@dataclass(frozen=True)
class LockedEnvironment:
    """Everything that determines an environment; the same key means the same environment."""

    lock: str  # pylock.toml (PEP 751) with a hash of each file; of older releases, a `name==version` a line
    python: str  # the interpreter's version, as `3.11.7`

    @property
    def key(self) -> str:
        parts = (FORMAT_VERSION, self.lock, self.python, platform.machine(), platform.libc_ver()[0])
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
