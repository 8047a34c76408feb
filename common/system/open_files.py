"""The sockets, pipes and memory-backed files that processes have open; standard library only."""

import os
from contextlib import suppress

from common.system.process_memory import Inode, find_shared_mappings
from common.system.procfs import as_process_user

SHM_PATH = "/dev/shm"  # noqa: S108 (read, not written)
PIPE_BYTES = 1 << 16  # the kernel limits the sum of larger ones
# kernel memory of each open descriptor, and of each socket: a socket takes that too where nothing waits in it
DESCRIPTOR_BYTES, SOCKET_BYTES = 512, 2560


class OpenFiles:
    """The open files of processes: inodes of sockets and pipes; memory-backed files with their bytes."""

    def __init__(self) -> None:
        self.sockets, self.pipes = set[int](), set[int]()
        self.files = dict[Inode, int]()
        self.descriptors = 0

    @property
    def kernel_bytes(self) -> int:
        """Return the kernel memory that they take, whatever they contain."""
        return (
            len(self.pipes) * PIPE_BYTES
            + self.descriptors * DESCRIPTOR_BYTES
            + len(self.sockets) * SOCKET_BYTES
        )


def inspect_processes(processes: list[int], device: int, *, maps: bool = False) -> OpenFiles:
    """Return processes' open files, with `maps` also mapped ones; `device` is the shared memory's."""
    found = OpenFiles()
    found.files = find_shared_mappings(processes, device) if maps else {}
    for process in processes:
        with suppress(OSError), as_process_user(process):  # it ended meanwhile, or is unreadable
            names = os.listdir(f"/proc/{process}/fd")  # noqa: PTH208
            found.descriptors += len(names)
            for name in names:
                with suppress(OSError):
                    add_descriptor(f"/proc/{process}/fd/{name}", found, device)
    return found


def add_descriptor(descriptor: str, found: OpenFiles, device: int) -> None:
    kind, _, rest_of = os.readlink(descriptor).partition(":[")  # noqa: PTH115
    if kind == "socket":
        found.sockets.add(int(rest_of[:-1]))
    elif kind == "pipe":
        found.pipes.add(int(rest_of[:-1]))
    elif kind.startswith(("/memfd:", SHM_PATH)):
        facts = os.stat(descriptor)  # noqa: PTH116
        if kind.startswith("/memfd:") or facts.st_dev == device:
            found.files[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
