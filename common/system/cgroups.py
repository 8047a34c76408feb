"""Control groups (cgroup v2): where we may create one for a tree, the kernel counts the tree's memory.

That is the case for root with a writable /sys/fs/cgroup, and for a user with a delegated part of it.
Standard library only, and little of it, to start fast.
"""

import os
import time
from contextlib import suppress

GROUP_PREFIX = "slipway-"  # followed by the guard's PID namespace, PID and start time
REQUIRED_CONTROLLERS = {"memory", "pids"}


class ControlGroup:
    """The control group of one tree; `folder` is its path in the cgroup file system."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def add_current_process(self) -> None:
        """Move the calling process there, with all that it starts from now on."""
        write(f"{self.folder}/cgroup.procs", "0")

    def is_out_of_memory(self) -> bool:
        """Return whether the kernel killed a process in it over its own limit, not the machine's."""
        events = read_counters(f"{self.folder}/memory.events")
        return events.get("oom", 0) > 0 and events.get("oom_kill", 0) > 0

    def kill(self) -> None:
        """Kill everything in it at once."""
        with suppress(OSError):  # Linux is older than 5.14: the caller has another way
            write(f"{self.folder}/cgroup.kill", "1")

    def remove(self) -> None:
        """Remove the group; processes killed in it may take a moment to be gone."""
        for _ in range(100):
            try:
                os.rmdir(self.folder)  # noqa: PTH106
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.01)
            else:
                return


def create(memory: int, processes: int) -> ControlGroup | None:
    """Create a group limited to so many bytes, processes and threads; return None where none is possible."""
    parent = find_parent()
    if parent is None:
        return None
    remove_orphaned(parent)
    group = ControlGroup(f"{parent}/{group_name(os.getpid())}")
    try:
        os.mkdir(group.folder, 0o700)  # noqa: PTH102
        write(f"{group.folder}/memory.max", str(memory))
        write(f"{group.folder}/pids.max", str(processes))
    except OSError:
        with suppress(OSError):
            os.rmdir(group.folder)  # noqa: PTH106
        return None
    for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
        with suppress(OSError):  # a kernel may be built without swap, or be too old
            write(f"{group.folder}/{name}", value)
    return group


def find_parent() -> str | None:
    """Return the nearest group, our own or above it, in which groups with these limits can be created."""
    mounted, own = mount_point(), own_path()
    if mounted is None or own is None:
        return None
    folder = (mounted + own).rstrip("/")
    while len(folder) >= len(mounted):
        with suppress(OSError):
            with open(f"{folder}/cgroup.subtree_control") as file:  # noqa: PTH123
                enabled = set(file.read().split())
            if enabled >= REQUIRED_CONTROLLERS and os.access(folder, os.W_OK):
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
    """Return this process's group, below the mount point; `/` for the topmost."""
    with suppress(OSError), open("/proc/self/cgroup") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("0::"):
                return line[3:].rstrip("\n")
    return None


def group_name(guard: int) -> str:
    """Return a guard's group name, which no other process has had since the machine started.

    Raises `OSError` when there is no such process.
    """
    with open(f"/proc/{guard}/stat") as file:  # noqa: PTH123
        began = file.read().rpartition(")")[2].split()[19]
    return f"{GROUP_PREFIX}{pid_namespace()}-{guard}-{began}"


def pid_namespace() -> int:
    """Return the namespace of our PIDs: in another namespace they mean other processes."""
    return os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116


def remove_orphaned(parent: str) -> None:
    """Remove the groups whose guards have been killed, with everything left in them."""
    for name in os.listdir(parent):  # noqa: PTH208
        if name.startswith(f"{GROUP_PREFIX}{pid_namespace()}-") and not is_guard_alive(name):
            group = ControlGroup(f"{parent}/{name}")
            group.kill()
            with suppress(OSError):  # it is not empty yet: the next guard removes it
                os.rmdir(group.folder)  # noqa: PTH106


def is_guard_alive(name: str) -> bool:
    """Return whether the guard that created the group of this name is running."""
    try:
        return group_name(int(name.split("-")[2])) == name
    except (OSError, ValueError, IndexError):
        return False


def read_counters(path: str) -> dict[str, int]:
    """Return the names and numbers in a file; empty where there is none."""
    with suppress(OSError), open(path) as file:  # noqa: PTH123
        return {name: int(value) for name, value in map(str.split, file)}
    return {}


def write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)
