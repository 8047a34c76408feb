"""A view of the file system of its own, where root may make one."""

import os

from ml.runner.confine import kernel

SHARED = "/dev/shm"  # noqa: S108 (a private one is about to be there)


def own_view(covered: list[str], shown: list[str], memory: int) -> None:
    """An own /dev/shm; the folders `covered` are empty but for the paths `shown` in them.

    What is in /dev/shm is counted as memory: it has room for more, so that its end is not a full disk.
    """
    kernel.unshare(kernel.NEW_MOUNTS)
    kernel.mount("none", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    kernel.mount("shm", SHARED, "tmpfs", kernel.NOSUID | kernel.NODEV, f"mode=1777,size={2 * memory}")
    for folder in covered:
        below = [path for path in outermost(shown) if path.startswith(folder + "/")]
        places = {path: os.open(path, os.O_PATH) for path in below if os.path.exists(path)}  # noqa: PTH110
        kernel.mount("cover", folder, "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=755")
        for path, place in places.items():  # closed by the command's start, as all that it does not inherit
            show(path, place)


def outermost(paths: list[str]) -> list[str]:
    """Without those that lie below another one."""
    found: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(other + "/") for other in found):
            found.append(path)
    return found


def show(path: str, place: int) -> None:
    """Bind what is open as `place` to `path`, in a folder that has just been covered."""
    if os.path.isdir(f"/proc/self/fd/{place}"):  # noqa: PTH112
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        os.close(os.open(path, os.O_CREAT, 0o600))
    kernel.mount(f"/proc/self/fd/{place}", path, flags=kernel.BIND | kernel.RECURSIVE)
