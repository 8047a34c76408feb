"""Takes away what foreign code and commits have left, however deep they made it, and closed or not."""

import os
import shutil
import subprocess
from pathlib import Path


def remove(folder: Path) -> None:
    """What cannot be removed stays; never an error."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:  # a thousand folders in each other, which only `rm` has no trouble with
        _run("rm", "-rf", "--", folder.absolute())
    if os.path.lexists(folder):  # folders of a mode that closes them, to all but root
        _run("chmod", "-R", "u+rwX", "--", folder.absolute())  # no links are followed
        _run("rm", "-rf", "--", folder.absolute())


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=False, capture_output=True)
