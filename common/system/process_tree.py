"""The processes below a guard: found, reaped, killed; standard library only."""

import os
import signal
import time
from contextlib import suppress

from common.system import cgroups


def scan_descendants(guard: int) -> list[int]:
    """Return all processes below a guard, daemons included: a subreaper inherits orphans."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):  # it ended meanwhile
            children.setdefault(int(read_stat(name)[1]), []).append(int(name))
    found = list(children.get(guard, ()))
    for process in found:
        found += children.get(process, ())
    return found


def read_stat(process: int | str) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the state on; before them stands a name of any bytes."""
    with open(f"/proc/{process}/stat", "rb", buffering=0) as file:
        return file.read().rpartition(b")")[2].split()


def reap_children() -> dict[int, int]:
    """Return the exit codes of the children that ended."""
    ended = {}
    with suppress(ChildProcessError):
        while (end := os.waitpid(-1, os.WNOHANG))[0]:
            ended[end[0]] = os.waitstatus_to_exitcode(end[1])
    return ended


def kill_tree(group: cgroups.ControlGroup | None) -> dict[int, int]:
    """Freeze, then kill, until nothing is left: a process that forks meanwhile cannot escape."""
    ended = reap_children()
    if group:
        group.kill()
    while tree := scan_descendants(os.getpid()):
        kill_processes(tree)
        ended |= reap_children()
    return ended


def kill_processes(tree: list[int]) -> None:
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in tree:
            with suppress(ProcessLookupError):
                os.kill(process, number)
    time.sleep(0.01)


def kill_descendants(guard: int, seconds: float) -> bool:
    """Kill the processes below a guard, and return whether all have ended.

    The guard has to live until then: without it, orphans are out of reach for good.
    """
    until = time.monotonic() + seconds
    while tree := [process for process in scan_descendants(guard) if not has_ended(process)]:
        if time.monotonic() > until:
            return False
        kill_processes(tree)
    return True


def has_ended(process: int) -> bool:
    """Return whether it is a zombie; where only its first thread has ended, other threads still run."""
    try:
        fields = read_stat(process)
    except OSError:
        return True
    return fields[0] in (b"Z", b"X") and int(fields[17]) <= 1


def list_descendants(process: int | str) -> list[int]:
    """Return all processes below one, as the kernel lists children: much cheaper than `scan_descendants`."""
    found = []
    with suppress(OSError):  # it ended meanwhile
        for task in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    return found + [below for child in found for below in list_descendants(child)]


def own_descendants() -> list[int]:
    """Return all processes below this one; not all kernels list children."""
    return list_descendants("self") or scan_descendants(os.getpid())
