"""The removal of trees from untrusted code and commits, however deep, and with closed folders or not."""

import os
import shutil
import subprocess
from pathlib import Path


def remove_tree(folder: Path) -> None:
    """Remove a tree; what cannot be removed stays, without an error."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:  # a thousand nested folders, which only `rm` can remove
        _run_command("rm", "-rf", "--", folder.absolute())
    if os.path.lexists(folder):  # folders whose mode closes them, to all but root
        _run_command("chmod", "-R", "u+rwX", "--", folder.absolute())  # no links are followed
        _run_command("rm", "-rf", "--", folder.absolute())


def measure_disk_usage(folder: Path) -> int:
    """Return the bytes that it takes on the disk; 0 where that cannot be determined."""
    command: list[str | Path] = ["du", "-sk", "--", folder.absolute()]
    output = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    kilobytes = output.split(b"\t", maxsplit=1)[0]
    return int(kilobytes) << 10 if kilobytes.isdigit() else 0


def _run_command(*command: str | Path) -> None:
    # it may print a line for each of millions of files
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def count_bytes(folder: Path) -> int:
    """Return the bytes of the files below `folder`, links not followed."""
    return sum(
        os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 (there may be 100,000 of them)
        for place, _, names in os.walk(folder)
        for name in names
    )
