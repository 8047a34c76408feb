"""The folder of checks: environments that are shared between them, and the files of the last one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli import terminal
from cli.up.home_lock import make_folder
from common.system import filelock
from ml.paths import HomeLayout
from ml.sandbox import rmtree


@contextmanager
def open_home(home: Path) -> Iterator[HomeLayout]:
    """Give the folder to one check at a time, without the files of the check before."""
    make_folder(home.parent)
    make_folder(home)
    lock = home / "check.lock"
    if filelock.is_locked(lock):
        terminal.print_text("another check runs, or serves its model: this one begins when that has ended")
    with filelock.acquire(lock):
        layout = HomeLayout(home)
        for folder in ("releases", "repositories", "artifacts"):
            rmtree.remove_tree(home / folder)
        yield layout
