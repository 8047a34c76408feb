"""The processes that tests start, and those that are left of them."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

NOBODY = 65534


def command_line(process: psutil.Process) -> list[str]:
    """Return a process's command line; empty once it has ended, which it may do at any moment."""
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that still run; zombies do not."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it ended while it was inspected
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants, as they are now."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def mentioning(text: Path | str) -> list[psutil.Process]:
    """Return processes with `text` in their command line or environment, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        texts: list[str] = []
        with suppress(psutil.Error):
            texts += process.cmdline()
            texts += process.environ().values()  # not readable by a normal user where secrets are
        if any(str(text) in part for part in texts) and process.pid != os.getpid():
            found.append(process)
    return alive(found)


def normal_user(python: Path) -> list[str]:
    """Return the prefix that runs a command as a normal user: empty when the tests run as one.

    A project under /root is not readable by that user, who then keeps root's capability to read it.
    """
    if os.geteuid() != 0:
        return []
    assert shutil.which("setpriv"), "util-linux is part of every Debian and Ubuntu"
    plain = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    # nested: `setpriv` still reaches the first Python with root's rights
    nested = [
        *plain,
        str(python),
        "-c",
        f"import subprocess; subprocess.run(['{python}', '-c', 'import cli'], check=True)",
    ]
    if subprocess.run(nested, capture_output=True, check=False).returncode == 0:
        return plain
    return [*plain, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
