"""Makes the two virtual environments that Singer's tap and target run in: `python -m vcs.install`."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uv
from loguru import logger

from common import log
from vcs.settings import InstallSettings

REQUIREMENTS = Path(__file__).parents[1] / "resources" / "singer"
PARTS = ("tap", "target")  # they cannot share one: `jsonschema` 2 against 4


class NotInstalled(Exception):
    """An environment could not be made; the text says why and what to do."""


def python(home: Path, part: str) -> Path:
    return home / part / "bin" / "python"


def key(part: str) -> str:
    """What an environment was made from: its locked requirements, and the Python in it."""
    requirements = (REQUIREMENTS / f"{part}.txt").read_bytes()
    return hashlib.sha256(requirements + sys.base_prefix.encode() + sys.version.encode()).hexdigest()


def installed(home: Path) -> bool:
    """Whether both environments are there and made from today's requirements."""
    return all(done(home, part) for part in PARTS)


def done(home: Path, part: str) -> bool:
    try:
        return (home / part / "key").read_text() == key(part) and python(home, part).exists()
    except OSError:
        return False


def install(home: Path) -> None:
    """Make what is missing or out of date in `home`; two at once: the second waits, then finds it done."""
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / "lock"):
        for part in PARTS:
            if not done(home, part):
                logger.info("making the environment of Singer's {}", part)
                make(home, part)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make(home: Path, part: str) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{part}-", dir=home) as folder:
        new = Path(folder) / part
        run("venv", "--quiet", "--no-project", "--relocatable", "--python", sys.executable, str(new))
        run(
            *("pip", "install", "--quiet", "--require-hashes", "--no-deps", "--compile-bytecode"),
            *("--python", str(new / "bin" / "python"), "--requirement", str(REQUIREMENTS / f"{part}.txt")),
        )
        (new / "key").write_text(key(part))
        if (home / part).exists():  # a running sync keeps the files that it has open
            shutil.move(home / part, Path(folder) / "old")
        new.rename(home / part)


def run(*arguments: str) -> None:
    ended = subprocess.run([uv.find_uv_bin(), *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NotInstalled(
            f"uv {' '.join(arguments[:2])} failed: {ended.stderr.strip()[-2000:]}\n"
            "Singer's packages come from the package index: see that it can be reached from here "
            "(UV_INDEX_URL, HTTPS_PROXY), then start again; what is there already is kept."
        )


def main() -> None:
    settings = InstallSettings()
    log.configure("singer", settings.log)
    try:
        install(settings.singer_home)
    except NotInstalled as error:
        sys.exit(f"Singer's environments could not be made: {error}")
    except OSError as error:
        sys.exit(f"Singer's environments cannot be kept in {settings.singer_home}: {error}")


if __name__ == "__main__":
    main()
