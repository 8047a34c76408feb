"""Resource limits, inherited by everything below."""

import os
import resource

from common import groups


def at_most(what: int, value: int) -> None:
    """Lower a limit; one that is lower already stays."""
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def limit(*, data: int, file_size: int, open_files: int, processes: int, shared_user: bool) -> None:
    """Bytes of private memory a process and of one file; processes and threads of the user.

    The kernel counts the latter for the whole user: where others run as the same one, theirs are added.
    """
    at_most(resource.RLIMIT_CORE, 0)
    at_most(resource.RLIMIT_DATA, data)
    at_most(resource.RLIMIT_FSIZE, file_size)
    at_most(resource.RLIMIT_NOFILE, open_files)
    at_most(resource.RLIMIT_NPROC, processes + (threads_of(os.getuid()) if shared_user else 0))


def threads_of(user: int) -> int:
    """Also of its processes that are not dumpable, whose files in /proc are root's."""
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


def counted_by_kernel() -> bool:
    """Whether the leash has put us into a control group, which counts memory that is not mapped too."""
    try:
        with open("/proc/self/cgroup") as file:  # noqa: PTH123
            return any(line.rpartition("/")[2].startswith(groups.PREFIX) for line in file)
    except OSError:
        return False
