"""A user of its own for each model: a number that no account has, the same at each start."""

import json
import os
import stat
import sys
import zlib
from pathlib import Path

from common.durable import publish
from ml import flock

FIRST, COUNT = 59_000, 1_000  # the end of what useradd gives to people, below what systemd gives to services
UV = FIRST - 1  # who resolves and installs packages, for all models; also the owner of uv's cache
NEEDED = (0, 1, 3, 5, 6, 7)  # CAP_CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID
ADMINISTER = 21  # CAP_SYS_ADMIN
HERE = Path(__file__)


def possible(home: Path) -> bool:
    """Whether this process may run others as another user, hand files to them, and end them.

    Where folders above are closed to others, they need a view of their own as well.
    """
    needed = (*NEEDED, ADMINISTER) if any(map(closed, (home, Path(sys.base_prefix), HERE))) else NEEDED
    return os.geteuid() == 0 and all(capabilities() >> capability & 1 for capability in needed)


def capabilities() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


def closed(path: Path) -> bool:
    return not all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def of(home: Path, model: str) -> int:
    """The model's user, who is also its group."""
    kept = home / "users.json"
    with flock.hold(kept.with_suffix(".lock")):
        users: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
        if model not in users:
            # two appliances on one machine begin at different places
            start = zlib.crc32(f"{home}\0{model}".encode())
            numbers = (FIRST + (start + step) % COUNT for step in range(COUNT))
            users[model] = next(number for number in numbers if number not in users.values())
            new = kept.with_suffix(".new")
            new.write_text(json.dumps(users, indent=1))
            publish(new, kept)
        return users[model]


def model_of(home: Path, user: int) -> str | None:
    """Return whose user that is; None for a number that no model has."""
    kept = home / "users.json"
    users: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
    return next((model for model, number in users.items() if number == user), None)
