"""What a tree of processes has the kernel watch for it (epoll): memory that no process has mapped.

The kernel bounds it for a user, not for a process: where models run as the user of services, one that watched
all that the user may would leave them none, and a service that cannot watch a connection takes none.
"""

import os
from contextlib import suppress

from common.memory import seen_as

LIMIT = "/proc/sys/fs/epoll/max_user_watches"
SHARE = 16  # of what a user may watch: the part of it for one tree
BYTES = 256  # of memory for each file that is watched
POLL, WATCHED = "anon_inode:[eventpoll]", "tfd:"


def is_above(tree: list[int], memory: int) -> bool:
    """Whether the tree watches more than its share, or than fits into its `memory` in bytes."""
    left = min(memory // BYTES, of_user() // SHARE)
    for process in tree:
        with suppress(OSError), seen_as(process):  # it ended meanwhile, or hides
            for name in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208
                with suppress(OSError):  # closed meanwhile
                    if os.readlink(f"/proc/{process}/fd/{name}") == POLL:  # noqa: PTH115
                        left -= watched(f"/proc/{process}/fdinfo/{name}", left)
        if left < 0:
            return True
    return False


def of_user() -> int:
    """How many files one user may watch; as on a small machine where that cannot be read."""
    try:
        with open(LIMIT) as file:  # noqa: PTH123
            return int(file.read())
    except (OSError, ValueError):
        return 200_000


def watched(path: str, most: int) -> int:
    """How many files are watched by one, counted until there are more than `most`."""
    count = 0
    with open(path) as file:  # noqa: PTH123
        for line in file:
            count += line.startswith(WATCHED)
            if count > most:
                break
    return count
