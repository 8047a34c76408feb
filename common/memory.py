"""What a tree of processes holds of the machine's memory, mapped or not. Standard library only.

It is looked at from outside, where the kernel does not count for us (`common/groups.py`). A first, cheap look
gives more than there can be; only where that is over the limit, what is shared is told apart.
"""

import ctypes
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SHARED = "/dev/shm"  # noqa: S108 (looked at, not written to)
PIPE = 1 << 16  # bytes; the kernel bounds the sum of those that hold more
MAPPING_BYTES = 256  # of the kernel's own for each mapping of a process, and for each open descriptor:
DESCRIPTOR_BYTES, SOCKET_BYTES = 512, 2560  # a socket takes that too where nothing waits in it
OF_STATUS = ("VmRSS", "VmSwap", "VmPTE", "HugetlbPages")
MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)")
ANONYMOUS = (
    "/dev/zero (deleted)",
    "/memfd:",
    "/SYSV",
)  # files of nobody, by the names that the kernel gives them
LIBC = ctypes.CDLL(None)

Inode = tuple[int, int]  # its device and number


class Open:
    """What processes have open: numbers of sockets and pipes; files that are memory, with their bytes."""

    def __init__(self) -> None:
        self.sockets, self.pipes = set[int](), set[int]()
        self.files = dict[Inode, int]()
        self.descriptors = 0

    @property
    def fixed(self) -> int:
        """Bytes that they take of the kernel's memory, whatever they hold."""
        return len(self.pipes) * PIPE + self.descriptors * DESCRIPTOR_BYTES + len(self.sockets) * SOCKET_BYTES


class Looker:
    """Looks at the tree of one guard; `child` is what the guard has started."""

    def __init__(self, limit: int, child: int) -> None:
        self.limit, self.child = limit, child
        self.since = time.time() - 1  # a clock of files may be a little behind
        self.user, self.seen = os.getuid(), set[Inode]()

    def is_above(self, tree: list[int]) -> bool:
        """Whether the tree holds more than it may. Each step takes longer, and is closer to the truth."""
        from common import queues  # noqa: PLC0415 (a guard that is just starting does without)

        shared, nobody = Shared(self.child), Open()
        opened = look_at(tree, shared.device)
        if not shared.is_own:
            self.user = shared.user
            self.seen |= opened.files.keys()
        most = sum(map(mapped, tree)) + opened.fixed + shared.used
        if most + queues.bound(len(opened.sockets)) + len(tree) * most_of_mappings() <= self.limit:
            return False
        fixed = opened.fixed
        for process in tree:
            fixed += of_mappings(process)
            if fixed > self.limit:  # now: the next steps take long where there are so many
                return True
        most += fixed - opened.fixed
        if most + queues.held(opened.sockets, nobody.sockets, shared.user) <= self.limit:
            return False
        held = sum(map(own, tree)) + fixed
        for is_last in (False, True):
            found = look_at(rest(tree), shared.device, maps=True) if is_last else nobody
            queued = queues.held(opened.sockets, found.sockets, shared.user)
            if held + queued + shared.held(tree, opened, found, self.since) <= self.limit:
                return False
        return True

    def remove_left(self) -> None:
        """Take away what an ended tree has left in a /dev/shm that all share: those that we saw in its hands.

        Where no process of their user is left, all that he has made since.
        """
        new = list(files_of(SHARED, self.user, self.since))
        if not new:
            return
        others = rest([])
        is_last = self.user not in (os.getuid(), *map(user_of, others))
        in_use = look_at(others, device_of(SHARED), maps=True).files
        for inode, _, path in new:
            if inode not in in_use and (is_last or inode in self.seen):
                with suppress(OSError):
                    os.unlink(path)  # noqa: PTH108


class Shared:
    """The tree's /dev/shm, which is its own where root may make one."""

    def __init__(self, child: int) -> None:
        self.path = f"/proc/{child}/root{SHARED}"
        self.user = user_of(child)
        self.device, self.used = 0, 0
        with suppress(OSError), seen_as(child):
            self.device = os.stat(self.path).st_dev  # noqa: PTH116
            found = os.statvfs(self.path)
            self.used = (found.f_blocks - found.f_bfree) * found.f_frsize
        if not self.device:  # it may not be looked at from there: then it is what all share
            self.path, self.device = SHARED, device_of(SHARED)
            with suppress(OSError):
                found = os.statvfs(SHARED)
                self.used = (found.f_blocks - found.f_bfree) * found.f_frsize
        self.is_own = self.device != device_of(SHARED)

    def held(self, tree: list[int], opened: Open, others: Open, since: float) -> int:
        """Bytes in it, and in what the tree shares without a file; each once."""
        parts = mapped_shared(tree, self.device)
        if self.is_own:
            return self.used + sum(size for (device, _), size in parts.items() if device != self.device)
        files = opened.files | {inode: size for inode, size, _ in files_of(self.path, self.user, since)}
        ours = opened.files.keys() | parts.keys()
        kept = {inode: size for inode, size in files.items() if inode in ours or inode not in others.files}
        return sum((parts | kept).values())


def files_of(folder: str, user: int, since: float) -> Iterator[tuple[Inode, int, str]]:
    """A user's files below that have changed since: which one, its bytes, its path."""
    folders = [folder]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                facts = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif facts.st_uid == user and facts.st_ctime >= since:
                    yield (facts.st_dev, facts.st_ino), facts.st_blocks * 512, entry.path


def look_at(processes: list[int], device: int, *, maps: bool = False) -> Open:
    """What they have open, with `maps` also mapped; `device` is that of the shared memory's files."""
    found = Open()
    found.files = mapped_shared(processes, device) if maps else {}
    for process in processes:
        with suppress(OSError), seen_as(process):  # it ended meanwhile, or hides
            names = os.listdir(f"/proc/{process}/fd")  # noqa: PTH208
            found.descriptors += len(names)
            for name in names:
                with suppress(OSError):
                    note(f"/proc/{process}/fd/{name}", found, device)
    return found


def note(descriptor: str, found: Open, device: int) -> None:
    kind, _, rest_of = os.readlink(descriptor).partition(":[")  # noqa: PTH115
    if kind == "socket":
        found.sockets.add(int(rest_of[:-1]))
    elif kind == "pipe":
        found.pipes.add(int(rest_of[:-1]))
    elif kind.startswith(("/memfd:", SHARED)):
        facts = os.stat(descriptor)  # noqa: PTH116
        if kind.startswith("/memfd:") or facts.st_dev == device:
            found.files[facts.st_dev, facts.st_ino] = facts.st_blocks * 512


def mapped(process: int) -> int:
    """What it has mapped, also of files and of what it shares; what is swapped out; its page tables."""
    with suppress(OSError):  # it ended meanwhile
        facts = read(f"/proc/{process}/status")
        return sum(kibibytes(facts[name]) for name in OF_STATUS if name in facts)
    return 0


def of_mappings(process: int) -> int:
    """What the kernel keeps for a process's mappings; the most where it hides them."""
    try:
        with seen_as(process), open(f"/proc/{process}/maps", "rb") as file:  # noqa: PTH123
            return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 16), b"")) * MAPPING_BYTES
    except FileNotFoundError:  # it ended meanwhile
        return 0
    except OSError:
        return most_of_mappings()


def most_of_mappings() -> int:
    """The same of a process that has as many mappings as one may have."""
    with suppress(OSError, ValueError), open("/proc/sys/vm/max_map_count") as file:  # noqa: PTH123
        return int(file.read()) * MAPPING_BYTES
    return 65530 * MAPPING_BYTES


def own(process: int) -> int:
    """What it alone holds, and its part of what it shares with those that it was forked from."""
    try:
        with seen_as(process):
            facts = read(f"/proc/{process}/smaps_rollup")
            tables = read(f"/proc/{process}/status")
    except OSError:  # it ended meanwhile, or hides: then it is taken for the only one that has what it maps
        return mapped(process)
    if "Pss_Anon" not in facts:  # Linux is older than 5.4
        return kibibytes(facts["Pss"])
    names = ("Pss_Anon", "SwapPss", "Private_Hugetlb", "Shared_Hugetlb")
    held = sum(kibibytes(facts[name]) for name in names if name in facts)
    return held + kibibytes(tables.get("VmPTE", "0 kB"))


def mapped_shared(processes: list[int], device: int) -> dict[Inode, int]:
    """Of memory that processes share, and files that are memory: what they have mapped of each, in bytes."""
    found = dict[Inode, int]()
    for process in processes:
        with suppress(OSError), seen_as(process):
            if kibibytes(read(f"/proc/{process}/smaps_rollup").get("Pss_Shmem", "1 kB")):
                add_mappings(process, device, found)
    return found


def add_mappings(process: int, device: int, found: dict[Inode, int]) -> None:
    inode: Inode | None = None
    with open(f"/proc/{process}/smaps", errors="replace") as file:  # noqa: PTH123
        for line in file:
            if (begins := MAPPING.match(line)) is not None:
                place = os.makedev(int(begins[1], 16), int(begins[2], 16))
                is_memory = place == device or begins[4].startswith(ANONYMOUS)
                inode = (place, int(begins[3])) if is_memory else None
            elif inode is not None and line.startswith("Pss:"):
                found[inode] = found.get(inode, 0) + kibibytes(line.removeprefix("Pss:"))


def rest(tree: list[int]) -> list[int]:
    """All processes but these."""
    inside = {*tree, os.getpid()}
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in inside]  # noqa: PTH208


def read(path: str) -> dict[str, str]:
    with open(path, errors="replace") as file:  # noqa: PTH123
        return dict(line.split(":", 1) for line in file if ":" in line)


def kibibytes(text: str) -> int:
    """Bytes of `   1234 kB`."""
    return int(text.removesuffix("\n").removesuffix(" kB")) * 1024


def device_of(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_dev  # noqa: PTH116
    return 0


def user_of(process: int) -> int:
    with suppress(OSError):
        return int(read(f"/proc/{process}/status")["Uid"].split()[0])
    return os.getuid()


@contextmanager
def seen_as(process: int) -> Iterator[None]:
    """Look at a process as its own user: root in a container may not look at what others hold."""
    if os.geteuid() != 0:
        yield
        return
    facts = os.stat(f"/proc/{process}")  # noqa: PTH116
    LIBC.setfsgid(facts.st_gid)
    LIBC.setfsuid(facts.st_uid)
    try:
        yield
    finally:
        LIBC.setfsuid(0)
        LIBC.setfsgid(os.getegid())
