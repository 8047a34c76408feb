"""A private view of the file system, where root may create one."""

import os

from ml.sandbox.confine import kernel

SHARED_MEMORY = "/dev/shm"  # noqa: S108 (a private one is about to be mounted)


def enter_private_namespace(masked: list[str], exposed: list[str], memory: int) -> None:
    """Mount a private /dev/shm; empty the folders `masked` but for the paths `exposed` in them.

    What is in /dev/shm counts as memory: the mount is larger than that limit, so that an excess of memory is
    not reported as a full disk.
    """
    kernel.unshare(kernel.NEW_MOUNTS)
    kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("shm", SHARED_MEMORY, "tmpfs", kernel.NOSUID | kernel.NODEV, f"mode=1777,size={2 * memory}")
    for folder in masked:
        below = [path for path in drop_nested(exposed) if path.startswith(folder + "/")]
        descriptors = {path: os.open(path, os.O_PATH) for path in below if os.path.exists(path)}  # noqa: PTH110
        kernel.mount("cover", folder, "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=755")
        # closed when the command starts, as is all that it does not inherit
        for path, descriptor in descriptors.items():
            bind_path(path, descriptor)


def drop_nested(paths: list[str]) -> list[str]:
    """Return the paths that lie below no other one."""
    found: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(other + "/") for other in found):
            found.append(path)
    return found


def bind_path(path: str, place: int) -> None:
    """Bind what is open as `place` to `path`, in a folder that has just been masked."""
    if os.path.isdir(f"/proc/self/fd/{place}"):  # noqa: PTH112
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        os.close(os.open(path, os.O_CREAT, 0o600))
    kernel.mount(f"/proc/self/fd/{place}", path, flags=kernel.BIND | kernel.RECURSIVE)
