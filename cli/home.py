"""The folder an appliance lives in, and the lock that keeps it to one appliance."""

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


def lock(home: Path, seconds: float = 15) -> int:
    """The lock of `home`, a file descriptor; `Trouble` when an appliance runs there.

    Children hold it as well. So it is waited for when the one who took it is dead: what a killed appliance
    started is about to end too.
    """
    file = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(file, 20, 0).decode().strip()
            if time.monotonic() > until or (owner and Path(f"/proc/{owner}").exists()):
                cure = "end that one, or give this one another SLIPWAY_HOME"
                raise Trouble(f"an appliance runs in {home} already (process {owner}): {cure}") from error
            time.sleep(0.1)
        else:
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)
            return file
