"""Virtual environments made of locked requirements: once, anew when these change, whole or not at all."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uv


class NotInstalled(Exception):
    """An environment could not be made; the text says why and what to do."""


@dataclass(frozen=True)
class Environment:
    """The one in `folder`, as `requirements` (a file of names, versions and hashes) wants it."""

    folder: Path
    requirements: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def key(self) -> str:
        """What it is made from: its locked requirements, and the Python in it."""
        made_from = self.requirements.read_bytes() + sys.base_prefix.encode() + sys.version.encode()
        return hashlib.sha256(made_from).hexdigest()

    @property
    def done(self) -> bool:
        """Whether it is there and made from today's requirements."""
        try:
            return (self.folder / "key").read_text() == self.key and self.python.exists()
        except OSError:
            return False

    def make(self) -> None:
        """Make it aside and rename it into place. The caller holds a lock, or two could do this at once."""
        with tempfile.TemporaryDirectory(prefix=f"{self.folder.name}-", dir=self.folder.parent) as folder:
            new = Path(folder) / self.folder.name
            run("venv", "--quiet", "--no-project", "--relocatable", "--python", sys.executable, str(new))
            run(
                *("pip", "install", "--quiet", "--require-hashes", "--no-deps", "--compile-bytecode"),
                *("--python", str(new / "bin" / "python"), "--requirement", str(self.requirements)),
            )
            (new / "key").write_text(self.key)
            if self.folder.exists():  # what runs in it keeps the files that it has open
                shutil.move(self.folder, Path(folder) / "old")
            new.rename(self.folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Of those that make environments beside this file, one at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(*arguments: str) -> None:
    ended = subprocess.run([uv.find_uv_bin(), *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NotInstalled(
            f"uv {' '.join(arguments[:2])} failed: {ended.stderr.strip()[-2000:]}\n"
            "Its packages come from the package index: see that it can be reached from here "
            "(UV_INDEX_URL, HTTPS_PROXY), then start again; what is there already is kept."
        )
