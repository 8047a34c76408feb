"""Limits of a process tree that are polled: memory, epoll watches, disk; standard library only."""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from common.system.process_tree import own_descendants

EXIT_OUT_OF_MEMORY, EXIT_OUT_OF_DISK = 230, 231
MEMORY_CHECK_SECONDS = 0.5  # between two checks of the tree's memory
EPOLL_CHECK_SECONDS = 1.0  # the same for epoll watches, which are limited per user
GROWTH_CHECK_SECONDS = 1.0  # the same where only growth counts
DISK_CHECK_SECONDS = 5.0  # between two scans of folders, and more where that takes long
MAX_PAUSE_SECONDS = 10.0  # between two checks of one kind, however long one takes
MAX_FILES = 1_000_000
OUT_OF_MEMORY_MESSAGE = b"[slipway: killed, it used more memory than allowed]\n"
OUT_OF_DISK_MESSAGE = b"[slipway: killed, its files take more space than allowed, are too many or too deep]\n"


class DiskLimit:
    """A limit on a tree's disk use: in `folders`, and in unlinked files that it has open."""

    def __init__(self, limit: int, folders: list[str]) -> None:
        self.limit, self.folders = limit, folders
        self._free = [free_bytes(folder) for folder in folders]

    def count_lost_bytes(self) -> int:
        """Return how many bytes less are free than at the start, whoever uses them."""
        return max(free - free_bytes(folder) for free, folder in zip(self._free, self.folders, strict=True))

    def is_exceeded(self, bytes_before: int = 0, count_before: int = 0) -> bool:
        """Return whether the files exceed the limit beyond those before, are too many, or lie too deep.

        Unreadable files are counted by the free space that the disk has lost.
        """
        from common.system import unlinked_files  # noqa: PLC0415 (a starting guard does not need it)

        unlinked = unlinked_files.UnlinkedFiles(own_descendants())
        size, count = unlinked.total_bytes, 0
        if size > self.limit + bytes_before or (unlinked.has_hidden and self.count_lost_bytes() > self.limit):
            return True
        for found in walk_sizes(self.folders):
            size, count = size + found, count + 1
            if size > self.limit + bytes_before or count > MAX_FILES + count_before or found < 0:
                return True
        return False


def walk_sizes(folders: list[str]) -> Iterator[int]:
    """Yield the bytes on disk of each file and folder below; -1 where one lies too deep to be read."""
    folders = [*folders]
    while folders:
        try:
            entries = os.scandir(folders.pop())
        except OSError as error:  # it has gone meanwhile, else
            if error.errno == errno.ENAMETOOLONG:
                yield -1
            continue
        with entries:
            for entry in entries:
                with suppress(OSError):  # it has gone meanwhile
                    found = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    yield found.st_blocks * 512


class LimitCheck:
    """A limit of the tree, checked in no more than a twentieth of a processor's time, but every ten seconds.

    Else a tree that makes its checks slow, or a busy machine, would put the next one off for minutes.
    """

    def __init__(
        self,
        is_exceeded: Callable[[], bool],
        interval_seconds: float,
        exit_code: int,
        message: bytes,
        clean_up: Callable[[], None] = lambda: None,
        *,
        is_exceeded_at_end: Callable[[], bool] = lambda: False,
    ) -> None:
        self.is_exceeded, self.clean_up = is_exceeded, clean_up
        self.is_exceeded_at_end = is_exceeded_at_end  # when the command has ended
        self.interval_seconds, self.exit_code, self.message = interval_seconds, exit_code, message
        self.due = time.monotonic() + interval_seconds

    def check_if_due(self) -> bool:
        if time.monotonic() < self.due:
            return False
        began = time.process_time()
        found = self.is_exceeded()
        pause = min(20 * (time.process_time() - began), MAX_PAUSE_SECONDS)
        self.due = time.monotonic() + max(self.interval_seconds, pause)
        return found


def make_limit_checks(
    options: dict[str, int], folders: list[str], child: int, own_counts: int | None, *, counted: bool
) -> list[LimitCheck]:
    """Return the limit checks to run; memory only where the kernel has not `counted` it.

    `own_counts` is of `open_own_counts`.
    """
    made = []
    if (memory := options.get("--memory")) is not None and not counted:
        made.append(make_memory_check(memory, child))
    if memory:
        made.append(make_epoll_check(memory))
    if disk := options.get("--disk"):
        made.append(make_disk_check(disk, folders, options, own_counts))
    return made


def make_memory_check(limit: int, child: int) -> LimitCheck:
    from common.system.memory import MemoryMonitor  # noqa: PLC0415 (others need not wait for it)

    monitor = MemoryMonitor(limit, child)
    return LimitCheck(
        lambda: monitor.is_exceeded(own_descendants()),
        MEMORY_CHECK_SECONDS,
        EXIT_OUT_OF_MEMORY,
        OUT_OF_MEMORY_MESSAGE,
        monitor.remove_leftover_files,
    )


def make_epoll_check(limit: int) -> LimitCheck:
    from common.system import epoll_memory  # noqa: PLC0415 (the same)

    return LimitCheck(
        lambda: epoll_memory.is_exceeded(own_descendants(), limit),
        EPOLL_CHECK_SECONDS,
        EXIT_OUT_OF_MEMORY,
        OUT_OF_MEMORY_MESSAGE,
    )


def make_disk_check(
    limit: int, folders: list[str], options: dict[str, int], own_counts: int | None
) -> LimitCheck:
    disk = DiskLimit(limit, folders)
    if "--growth" in options:
        return make_growth_check(disk, limit if "--shared" in options else -1, own_counts)
    return LimitCheck(disk.is_exceeded, DISK_CHECK_SECONDS, EXIT_OUT_OF_DISK, OUT_OF_DISK_MESSAGE)


def make_growth_check(disk: DiskLimit, least: int, own_counts: int | None) -> LimitCheck:
    """Return a check of growth below the folders; also run when the command ends, which may be soon.

    Growth does not count while the tree has written no more than `least` bytes.
    """
    before = [*walk_sizes(disk.folders)]

    def is_above() -> bool:
        return count_written_bytes(own_counts) > least and disk.is_exceeded(sum(before), len(before))

    def is_above_at_end() -> bool:
        """Scan only once the disk has lost half the limit: other processes alone seldom write that little."""
        return disk.count_lost_bytes() > disk.limit // 2 and is_above()

    return LimitCheck(
        is_above,
        GROWTH_CHECK_SECONDS,
        EXIT_OUT_OF_DISK,
        OUT_OF_DISK_MESSAGE,
        is_exceeded_at_end=is_above_at_end,
    )


def open_own_counts() -> int | None:
    """Open what the kernel counts of this process and of its ended children; None where it does not count.

    Once a process is not dumpable, only root may open it; who has it open may read it.
    """
    with suppress(OSError):
        return os.open("/proc/self/io", os.O_RDONLY | os.O_CLOEXEC)
    return None


def count_written_bytes(own_counts: int | None) -> int:
    """Return the bytes written so far by this process and all below it, including those that have ended.

    It holds for programs that do not hide it: writes by way of a mapping are not always counted.
    """
    from common.system import procfs  # noqa: PLC0415 (a starting guard does not need it)

    if own_counts is None:
        return sys.maxsize
    tables = [procfs.parse_fields(os.pread(own_counts, 4096, 0).decode())]
    for process in own_descendants():
        with suppress(OSError), procfs.as_process_user(process):  # it has ended meanwhile
            tables.append(procfs.read_fields(f"/proc/{process}/io"))
    return sum(max(int(counts["wchar"]), int(counts["write_bytes"])) for counts in tables)


def free_bytes(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
