"""Resource limits, inherited by all descendants."""

import os
import resource

from common.system import cgroups


def lower_limit(what: int, value: int) -> None:
    """Lower a limit; one that is lower already stays."""
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def limit_resources(*, data: int, file_size: int, open_files: int, processes: int, shared_user: bool) -> None:
    """Limit the bytes of private memory of a process and of one file; processes and threads of the user.

    The kernel counts the latter for the whole user: where others run as the same one, theirs are added.
    """
    lower_limit(resource.RLIMIT_CORE, 0)
    lower_limit(resource.RLIMIT_DATA, data)
    lower_limit(resource.RLIMIT_FSIZE, file_size)
    lower_limit(resource.RLIMIT_NOFILE, open_files)
    lower_limit(resource.RLIMIT_NPROC, processes + (count_threads(os.getuid()) if shared_user else 0))


def count_threads(user: int) -> int:
    """Return the user's threads, also of processes that are not dumpable, whose files in /proc are root's."""
    found = 0
    for entry in os.scandir("/proc"):
        try:
            if entry.name.isdigit() and entry.stat().st_uid in (user, 0):
                with open(f"/proc/{entry.name}/status") as file:  # noqa: PTH123
                    facts = dict(line.split(":", 1) for line in file if ":" in line)
                found += int(facts["Threads"]) if int(facts["Uid"].split()[0]) == user else 0
        except OSError:
            continue  # it ended meanwhile
    return found


def is_counted_by_kernel() -> bool:
    """Return True when the process guard put us into a control group, which counts unmapped memory too."""
    try:
        with open("/proc/self/cgroup") as file:  # noqa: PTH123
            return any(line.rpartition("/")[2].startswith(cgroups.GROUP_PREFIX) for line in file)
    except OSError:
        return False
