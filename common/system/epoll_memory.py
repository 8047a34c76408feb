"""A limit on epoll watches of a process tree: kernel memory that no process has mapped.

The kernel limits watches per user, not per process: where models run as the services' user, one model could
take all of the user's watches, and a service that cannot watch a connection accepts none.
"""

import os
from contextlib import suppress

from common.system.procfs import as_process_user

LIMIT_PATH = "/proc/sys/fs/epoll/max_user_watches"
USER_SHARE = 16  # the fraction of a user's watches for one tree: 1/16
WATCH_BYTES = 256  # of memory for each watched file
EPOLL_LINK, WATCH_PREFIX = "anon_inode:[eventpoll]", "tfd:"


def is_exceeded(tree: list[int], memory: int) -> bool:
    """Return whether the tree watches more than its share, or than fits into its `memory` in bytes."""
    left = min(memory // WATCH_BYTES, read_user_limit() // USER_SHARE)
    for process in tree:
        with suppress(OSError), as_process_user(process):  # it ended meanwhile, or is unreadable
            for name in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208
                with suppress(OSError):  # closed meanwhile
                    if os.readlink(f"/proc/{process}/fd/{name}") == EPOLL_LINK:  # noqa: PTH115
                        left -= count_watched(f"/proc/{process}/fdinfo/{name}", left)
        if left < 0:
            return True
    return False


def read_user_limit() -> int:
    """Return the number of files one user may watch; a small machine's where that cannot be read."""
    try:
        with open(LIMIT_PATH) as file:  # noqa: PTH123
            return int(file.read())
    except (OSError, ValueError):
        return 200_000


def count_watched(path: str, limit: int) -> int:
    """Return the number of files watched by one epoll instance, counted up to `limit` + 1."""
    count = 0
    with open(path) as file:  # noqa: PTH123
        for line in file:
            count += line.startswith(WATCH_PREFIX)
            if count > limit:
                break
    return count
