"""Resource limits, inherited by everything below."""

import os
import resource


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
    found = 0
    for entry in os.scandir("/proc"):
        try:
            # what is not dumpable looks like root's
            if entry.name.isdigit() and entry.stat().st_uid in (user, 0):
                with open(f"/proc/{entry.name}/stat") as file:  # noqa: PTH123
                    found += int(file.read().rpartition(")")[2].split()[17])
        except OSError:
            continue  # it ended meanwhile
    return found
