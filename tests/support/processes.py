"""Processes that tests start, and what is left of them."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

NOBODY = 65534


def command_line(process: psutil.Process) -> list[str]:
    """Its words; none once it has ended, which it may do at any moment."""
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that ended and waits for its parent to notice does not."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it ended while it was looked at
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def tree(pid: int) -> list[psutil.Process]:
    """A process and all below it, as they are now."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def mentioning(text: Path | str) -> list[psutil.Process]:
    """Processes with `text` in their command line or environment, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        said: list[str] = []
        with suppress(psutil.Error):
            said += process.cmdline()
            said += process.environ().values()  # closed to a normal user where secrets are
        if any(str(text) in part for part in said) and process.pid != os.getpid():
            found.append(process)
    return alive(found)


def normal_user(python: Path) -> list[str]:
    """What makes a command run as a normal user: nothing when the tests do so themselves.

    A project under /root is closed to that user; then he keeps root's way past file permissions.
    """
    if os.geteuid() != 0:
        return []
    assert shutil.which("setpriv"), "util-linux is part of every Debian and Ubuntu"
    plain = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    # Twice, for `setpriv` still finds its way to the first one with root's rights.
    nested = [
        *plain,
        str(python),
        "-c",
        f"import subprocess; subprocess.run(['{python}', '-c', 'import cli'], check=True)",
    ]
    if subprocess.run(nested, capture_output=True, check=False).returncode == 0:
        return plain
    return [*plain, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
