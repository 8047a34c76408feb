"""The folder an appliance lives in, and the lock that keeps it to one, or to some that share it."""

import fcntl
import os
import time
from pathlib import Path

from cli.errors import Trouble


def prepare(home: Path) -> None:
    """Make the folder, closed to other users: repositories, passwords and data are in it."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
    except OSError as error:
        raise Trouble(f"SLIPWAY_HOME {home} cannot be used: {error.strerror}") from error


def lock(home: Path, seconds: float = 15, *, shared: bool = False) -> int:
    """The lock of `home`, a file descriptor; `Trouble` when an appliance runs there that does not share it.

    Children hold it as well. So it is waited for when those who took it are dead: what a killed appliance
    started is about to end too.
    """
    file = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + seconds
    while not taken(file, fcntl.LOCK_EX):
        owners = os.pread(file, 1000, 0).decode().split()
        living = [owner for owner in owners if Path(f"/proc/{owner}").exists()]
        if living or time.monotonic() > until:
            if shared and taken(file, fcntl.LOCK_SH):
                os.pwrite(file, "\n".join([*living, f"{os.getpid()}\n"]).encode(), 0)
                return file
            cure = "end that one, or give this one another SLIPWAY_HOME"
            if not shared:
                cure += ". Two share one when each has the same DATABASE_URL and follows a repository"
            owner = (living or owners or ["unknown"])[0]
            raise Trouble(f"an appliance runs in {home} already (process {owner}): {cure}")
        time.sleep(0.1)
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    if shared:
        fcntl.flock(file, fcntl.LOCK_SH)
    return file


def taken(file: int, how: int) -> bool:
    """Whether the lock could be taken (LOCK_EX alone, LOCK_SH with others who share it)."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
