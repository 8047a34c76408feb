"""Virtual environments made of locked requirements: once, again when these change, whole or not at all.

Appliances of one user share them, in a folder named by a hash of their requirements.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uv

from common.system.durable import move_into_place

COMPILE_SECONDS = "900"
LOCK_FILE, IN_USE_FILE = "lock", "used"
CACHE_HINT = "XDG_CACHE_HOME names another place"  # added where they cannot be stored
MAX_UNUSED_SECONDS = 30 * 24 * 3600


class InstallError(Exception):
    """An environment that could not be made; the text gives the cause and what to do."""


@contextmanager
def exit_on_failure(name: str, folder: Path) -> Iterator[None]:
    """End a program that makes environments in `folder` with one sentence where that fails."""
    try:
        yield
    except InstallError as error:
        sys.exit(f"{name} could not be made: {error}")
    except OSError as error:
        sys.exit(f"{name} cannot be stored in {folder}: {error}; {CACHE_HINT}")


@dataclass(frozen=True)
class PinnedVenv:
    """The environment in `folder`, built from `requirements` (a file of names, versions and hashes)."""

    folder: Path
    requirements: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def key(self) -> str:
        return compute_key([self.requirements])

    @property
    def is_current(self) -> bool:
        """Return whether it exists and was made from the current requirements."""
        try:
            return (self.folder / "key").read_text() == self.key and self.python.exists()
        except OSError:
            return False

    def ensure_current(self, on_create: Callable[[], object]) -> None:
        """Create it where it is missing or outdated; a concurrent call waits, then finds it made."""
        if self.is_current:  # in an image nothing could be locked
            return
        with lock_folder(self.folder.parent):
            if not self.is_current:
                on_create()
                self.create()

    def create(self) -> None:
        """Create it in a temporary folder, then rename. The caller holds a lock against concurrent calls."""
        prefix = f".{self.folder.name}-"
        for left in self.folder.parent.glob(f"{prefix}*"):  # left by a process that was killed
            shutil.rmtree(left, ignore_errors=True)  # its uv may still write
        with tempfile.TemporaryDirectory(prefix=prefix, dir=self.folder.parent) as folder:
            new = Path(folder) / self.folder.name
            run_uv("venv", "--quiet", "--no-project", "--relocatable", "--python", sys.executable, str(new))
            run_uv(
                *("pip", "install", "--quiet", "--require-hashes", "--no-deps", "--compile-bytecode"),
                *("--python", str(new / "bin" / "python"), "--requirement", str(self.requirements)),
            )
            (new / "key").write_text(self.key)
            if self.folder.exists():  # processes running in it keep their open files
                shutil.move(self.folder, Path(folder) / "old")
            move_into_place(new, self.folder)


def compute_key(requirements: Sequence[Path]) -> str:
    """Return a hash of the locked requirements and of the Python that environments are made from."""
    made_from = b"".join(path.read_bytes() for path in requirements)
    return hashlib.sha256(made_from + sys.base_prefix.encode() + sys.version.encode()).hexdigest()


def cache_folder() -> Path:
    """Return this user's shared folder, placed by the XDG Base Directory Specification."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(given) if given.startswith("/") else Path("~/.cache").expanduser()) / "slipway"
    except RuntimeError:
        raise SystemExit(f"this user has no home folder: set HOME, or see that {CACHE_HINT}") from None


def shared_folder(name: str, requirements: Sequence[Path]) -> Path:
    """Return the shared folder of the environments `name` that are made from `requirements`."""
    return cache_folder() / f"{name}-{compute_key(requirements)[:16]}"


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock `folder` so that one process at a time makes environments there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_locked(folder: Path) -> bool:
    """Return whether environments in `folder` are being made."""
    try:
        with (folder / LOCK_FILE).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def mark_in_use(folder: Path) -> None:
    """Protect `folder` from `remove_unused` as long as this process lives, also when it becomes another
    program.
    """
    with suppress(OSError):  # in an image nothing is written, and nothing is removed
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / IN_USE_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(descriptor)
        os.set_inheritable(descriptor, True)


def remove_unused(folder: Path) -> None:
    """Delete the shared environments of other versions that no process has used for a month."""
    name, _, key = folder.name.rpartition("-")
    for other in folder.parent.glob(f"{name}-{'?' * len(key)}") if folder.parent == cache_folder() else ():
        with suppress(OSError), (other / IN_USE_FILE).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if other != folder and time.time() - os.fstat(file.fileno()).st_mtime > MAX_UNUSED_SECONDS:
                shutil.rmtree(other)


def run_uv(*arguments: str) -> None:
    slow = {"UV_COMPILE_BYTECODE_TIMEOUT": COMPILE_SECONDS}  # uv allows each Python a minute
    ended = subprocess.run(
        [uv.find_uv_bin(), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=slow | os.environ,
    )
    if ended.returncode:
        failed = f"uv {' '.join(arguments[:2])} failed: {ended.stderr.strip()[-2000:]}\n"
        if os.strerror(errno.ENOSPC) in ended.stderr:
            raise InstallError(f"{failed}The disk is full: make room, or see that {CACHE_HINT}.")
        if "ytecode" in ended.stderr:
            raise InstallError(
                f"{failed}This machine is too busy to compile the packages: "
                "start again later, or raise UV_COMPILE_BYTECODE_TIMEOUT (seconds)."
            )
        raise InstallError(
            f"{failed}"
            "Its packages come from the package index: see that it can be reached from here "
            "(UV_INDEX_URL, HTTPS_PROXY), then start again; finished downloads stay."
        )
