"""Control groups (cgroup v2): the kernel counts what one tree holds, where we may make a group for it.

That is so for root whose /sys/fs/cgroup can be written, and for a user to whom a part of it is delegated.
Standard library only, and little of it, to start fast.
"""

import os
import time
from contextlib import suppress

PREFIX = "slipway-"  # then the guard's namespace of processes, its number and when it began
NEEDED = {"memory", "pids"}


class Group:
    """One tree's; `folder` is its place in the control groups' file system."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def enter(self) -> None:
        """Move the calling process there, with all that it starts from now on."""
        write(f"{self.folder}/cgroup.procs", "0")

    def ran_out(self) -> bool:
        """Whether the kernel has ended a process in it for its own limit, not for the machine's."""
        events = numbers(f"{self.folder}/memory.events")
        return events.get("oom", 0) > 0 and events.get("oom_kill", 0) > 0

    def kill(self) -> None:
        """End all that is in it, at once."""
        with suppress(OSError):  # Linux is older than 5.14: whoever asks knows another way
            write(f"{self.folder}/cgroup.kill", "1")

    def remove(self) -> None:
        """Take it away; what was killed in it may take a moment to be gone."""
        for _ in range(100):
            try:
                os.rmdir(self.folder)  # noqa: PTH106
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.01)
            else:
                return


def make(memory: int, processes: int) -> Group | None:
    """Make a group that may hold so many bytes, processes and threads; None where there can be none."""
    parent = place()
    if parent is None:
        return None
    sweep(parent)
    group = Group(f"{parent}/{name_of(os.getpid())}")
    try:
        os.mkdir(group.folder, 0o700)  # noqa: PTH102
        write(f"{group.folder}/memory.max", str(memory))
        write(f"{group.folder}/pids.max", str(processes))
    except OSError:
        with suppress(OSError):
            os.rmdir(group.folder)  # noqa: PTH106
        return None
    for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
        with suppress(OSError):  # a kernel may be made without swap, or be too old
            write(f"{group.folder}/{name}", value)
    return group


def place() -> str | None:
    """The nearest group above our own, or our own, in which groups with these limits can be made."""
    mounted, own = mount_point(), own_path()
    if mounted is None or own is None:
        return None
    folder = (mounted + own).rstrip("/")
    while len(folder) >= len(mounted):
        with suppress(OSError):
            with open(f"{folder}/cgroup.subtree_control") as file:  # noqa: PTH123
                enabled = set(file.read().split())
            if enabled >= NEEDED and os.access(folder, os.W_OK):
                return folder
        folder = os.path.dirname(folder)  # noqa: PTH120
    return None


def mount_point() -> str | None:
    with suppress(OSError), open("/proc/self/mounts") as file:  # noqa: PTH123
        for line in file:
            _, where, kind, *_ = line.split()
            if kind == "cgroup2":
                return where
    return None


def own_path() -> str | None:
    """Of this process, below the mount point; `/` for the topmost."""
    with suppress(OSError), open("/proc/self/cgroup") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("0::"):
                return line[3:].rstrip("\n")
    return None


def name_of(guard: int) -> str:
    """What a guard calls its group: no other process has had this name since the machine started.

    Raises `OSError` when there is no such process.
    """
    with open(f"/proc/{guard}/stat") as file:  # noqa: PTH123
        began = file.read().rpartition(")")[2].split()[19]
    return f"{PREFIX}{ours()}-{guard}-{began}"


def ours() -> int:
    """The namespace that our numbers of processes are of: in another they mean others."""
    return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116


def sweep(parent: str) -> None:
    """Take away the groups whose guards have been killed, with all that is left in them."""
    for name in os.listdir(parent):  # noqa: PTH208
        if name.startswith(f"{PREFIX}{ours()}-") and not is_held(name):
            group = Group(f"{parent}/{name}")
            group.kill()
            with suppress(OSError):  # it is not empty yet: the next one takes it away
                os.rmdir(group.folder)  # noqa: PTH106


def is_held(name: str) -> bool:
    """Whether the guard that made the group of this name is there."""
    try:
        return name_of(int(name.split("-")[2])) == name
    except (OSError, ValueError, IndexError):
        return False


def numbers(path: str) -> dict[str, int]:
    """A file of names and numbers; empty where there is none."""
    with suppress(OSError), open(path) as file:  # noqa: PTH123
        return {name: int(value) for name, value in map(str.split, file)}
    return {}


def write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)
