"""The memory that a process tree uses of the machine's, mapped or not. Standard library only.

It is measured from outside, where the kernel does not count for us (`common/system/cgroups.py`). A first,
cheap estimate is an upper bound; only where it exceeds the limit, shared memory is attributed exactly.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress

from common.system.open_files import SHM_PATH, OpenFiles, inspect_processes
from common.system.process_memory import (
    Inode,
    find_shared_mappings,
    mapped_bytes,
    mapping_overhead,
    max_mapping_overhead,
    proportional_bytes,
)
from common.system.procfs import as_process_user, device_id, list_other_processes, owner_uid


class MemoryMonitor:
    """A memory check of one guard's tree; `child` is the process that the guard has started."""

    def __init__(self, limit: int, child: int) -> None:
        self.limit, self.child = limit, child
        self.since = time.time() - 1  # the file system's clock may be a little behind
        self.user, self.seen = os.getuid(), set[Inode]()

    def is_exceeded(self, tree: list[int]) -> bool:
        """Return whether the tree uses more than its limit. Each step takes longer, and is more exact."""
        from common.system import socket_memory  # noqa: PLC0415 (a starting guard does not need it)

        shared, nobody = SharedMemory(self.child), OpenFiles()
        opened = inspect_processes(tree, shared.device)
        if not shared.is_private:
            self.user = shared.user
            self.seen |= opened.files.keys()
        most = sum(map(mapped_bytes, tree)) + opened.kernel_bytes + shared.used
        if (
            most + socket_memory.max_queued_bytes(len(opened.sockets)) + len(tree) * max_mapping_overhead()
            <= self.limit
        ):
            return False
        fixed = opened.kernel_bytes
        for process in tree:
            fixed += mapping_overhead(process)
            if fixed > self.limit:  # return now: the next steps take long where there are so many
                return True
        most += fixed - opened.kernel_bytes
        if most + socket_memory.count_queued_bytes(opened.sockets, nobody.sockets, shared.user) <= self.limit:
            return False
        used = sum(map(proportional_bytes, tree)) + fixed
        for is_last in (False, True):
            found = (
                inspect_processes(list_other_processes(tree), shared.device, maps=True) if is_last else nobody
            )
            queued = socket_memory.count_queued_bytes(opened.sockets, found.sockets, shared.user)
            if used + queued + shared.count_bytes(tree, opened, found, self.since) <= self.limit:
                return False
        return True

    def remove_leftover_files(self) -> None:
        """Delete an ended tree's files in a shared /dev/shm: those that we saw it use.

        Where no process of its user is left, delete all files that the user has made since.
        """
        new = list(find_files(SHM_PATH, self.user, self.since))
        if not new:
            return
        others = list_other_processes([])
        is_last = self.user not in (os.getuid(), *map(owner_uid, others))
        in_use = inspect_processes(others, device_id(SHM_PATH), maps=True).files
        for inode, _, path in new:
            if inode not in in_use and (is_last or inode in self.seen):
                with suppress(OSError):
                    os.unlink(path)  # noqa: PTH108


class SharedMemory:
    """The tree's /dev/shm, private where root can make one."""

    def __init__(self, child: int) -> None:
        self.path = f"/proc/{child}/root{SHM_PATH}"
        self.user = owner_uid(child)
        self.device, self.used = 0, 0
        with suppress(OSError), as_process_user(child):
            self.device = os.stat(self.path).st_dev  # noqa: PTH116
            found = os.statvfs(self.path)
            self.used = (found.f_blocks - found.f_bfree) * found.f_frsize
        if not self.device:  # unreadable from there: then it is the one that all share
            self.path, self.device = SHM_PATH, device_id(SHM_PATH)
            with suppress(OSError):
                found = os.statvfs(SHM_PATH)
                self.used = (found.f_blocks - found.f_bfree) * found.f_frsize
        self.is_private = self.device != device_id(SHM_PATH)

    def count_bytes(self, tree: list[int], opened: OpenFiles, others: OpenFiles, since: float) -> int:
        """Return the bytes in it, and in what the tree shares without a file; each counted once."""
        parts = find_shared_mappings(tree, self.device)
        if self.is_private:
            return self.used + sum(size for (device, _), size in parts.items() if device != self.device)
        files = opened.files | {inode: size for inode, size, _ in find_files(self.path, self.user, since)}
        ours = opened.files.keys() | parts.keys()
        counted = {inode: size for inode, size in files.items() if inode in ours or inode not in others.files}
        return sum((parts | counted).values())


def find_files(folder: str, user: int, since: float) -> Iterator[tuple[Inode, int, str]]:
    """Yield a user's files below `folder` changed since `since`: inode, bytes, path."""
    folders = [folder]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                facts = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif facts.st_uid == user and facts.st_ctime >= since:
                    yield (facts.st_dev, facts.st_ino), facts.st_blocks * 512, entry.path
