"""The users of models: a number that no account has, the same at each start."""

import json
import os
import stat
import sys
import zlib
from pathlib import Path

from common.errors import UnavailableError
from common.system import filelock
from common.system.durable import move_into_place

# the end of what useradd gives to people, below what systemd gives to services
FIRST_UID, UID_COUNT = 59_000, 1_000
UV_UID = FIRST_UID - 1  # resolves and installs packages, for all models; also the owner of uv's cache
NEEDED_CAPABILITIES = (0, 1, 3, 5, 6, 7)  # CAP_CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID
SYS_ADMIN_CAPABILITY = 21  # CAP_SYS_ADMIN
THIS_FILE = Path(__file__)


def can_switch(home: Path) -> bool:
    """Return True when this process may run others as another user, chown files to them, and end them.

    Where folders above are closed to others, they need a private view as well.
    """
    needed = (
        (*NEEDED_CAPABILITIES, SYS_ADMIN_CAPABILITY)
        if any(map(is_closed, (home, Path(sys.base_prefix), THIS_FILE)))
        else NEEDED_CAPABILITIES
    )
    return os.geteuid() == 0 and all(read_capabilities() >> capability & 1 for capability in needed)


def read_capabilities() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


def is_closed(path: Path) -> bool:
    return not all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def uid_for(home: Path, model: str) -> int:
    """Return the model's user, who is also its group. Raises `UnavailableError` when none is left."""
    registry = home / "users.json"
    with filelock.acquire(registry.with_suffix(".lock")):
        users: dict[str, int] = json.loads(registry.read_text()) if registry.exists() else {}
        if model not in users:
            # two appliances on one machine start at different numbers
            start = zlib.crc32(f"{home}\0{model}".encode())
            numbers = (FIRST_UID + (start + step) % UID_COUNT for step in range(UID_COUNT))
            free = next((number for number in numbers if number not in users.values()), None)
            if free is None:
                raise UnavailableError(
                    f"{UID_COUNT:,} models and pull requests have a user each, and no more are left: "
                    "close pull requests"
                )
            users[model] = free
            write_registry(registry, users)
        return users[model]


def list_names(home: Path) -> list[str]:
    """Return the names that have a user."""
    registry = home / "users.json"
    return list(json.loads(registry.read_text())) if registry.exists() else []


def forget(home: Path, name: str) -> None:
    """Take the user from a name; the caller has removed its files."""
    registry = home / "users.json"
    with filelock.acquire(registry.with_suffix(".lock")):
        users: dict[str, int] = json.loads(registry.read_text()) if registry.exists() else {}
        if users.pop(name, None) is not None:
            write_registry(registry, users)


def write_registry(registry: Path, users: dict[str, int]) -> None:
    new = registry.with_suffix(".new")
    new.write_text(json.dumps(users, indent=1))
    move_into_place(new, registry)


def find_model(home: Path, user: int) -> str | None:
    """Return the model of a user; None for a number that no model has."""
    registry = home / "users.json"
    users: dict[str, int] = json.loads(registry.read_text()) if registry.exists() else {}
    return next((model for model, number in users.items() if number == user), None)
