"""The appliance's folder, and the lock that limits it to one appliance, or to some that share it."""

import fcntl
import os
import time
from pathlib import Path

from cli.errors import UserError


def make_folder(home: Path) -> None:
    """Create the folder, closed to other users: repositories, passwords and data are in it."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
    except OSError as error:
        raise UserError(f"SLIPWAY_HOME {home} cannot be used: {error.strerror}") from error


def acquire_lock(home: Path, seconds: float = 15, *, shared: bool = False) -> int:
    """Lock `home` and return the file descriptor; raises `UserError` when an appliance runs there unshared.

    Children hold the lock as well. So it is waited for when those who took it are dead: the children of a
    killed appliance are about to end too.
    """
    file = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + seconds
    while not try_lock(file, fcntl.LOCK_EX):
        owners = os.pread(file, 1000, 0).decode().split()
        living = [owner for owner in owners if Path(f"/proc/{owner}").exists()]
        if living or time.monotonic() > until:
            if shared and try_lock(file, fcntl.LOCK_SH):
                os.pwrite(file, "\n".join([*living, f"{os.getpid()}\n"]).encode(), 0)
                return file
            hint = "end that one, or give this one another SLIPWAY_HOME"
            if not shared:
                hint += ". Two share one when each has the same DATABASE_URL and follows a repository"
            owner = (living or owners or ["unknown"])[0]
            raise UserError(f"an appliance runs in {home} already (process {owner}): {hint}")
        time.sleep(0.1)
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    if shared:
        fcntl.flock(file, fcntl.LOCK_SH)
    return file


def try_lock(file: int, how: int) -> bool:
    """Return whether the lock could be taken (LOCK_EX alone, LOCK_SH with others who share it)."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
