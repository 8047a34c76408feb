"""A virtual environment with the appliance's default packages, made once and shared by all tests."""

import fcntl
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import uv

from ml.environments.record import record_path, write_record
from ml.runner import trees
from ml.stages.environment import own_interpreter

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "resources" / "default-environment" / "requirements.txt"
ENVIRONMENTS = ROOT / ".slipway" / "tests" / "environments"


def environment(requirements: Path = REQUIREMENTS) -> Path:
    """The folder of a virtual environment (`bin/python` in it) that holds what `requirements` names.

    Kept between runs, so that the packages are fetched once; tests that run at the same time wait
    for the one that makes it. Treat it as read-only.
    """
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = ENVIRONMENTS / key
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record_path(home).exists():
            make(requirements, home)
    return home


def make(requirements: Path, home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        new = Path(folder) / "environment"
        python = new / "bin" / "python"
        run("venv", "--quiet", "--no-project", "--relocatable", "--python", sys.executable, new)
        run(
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--compile-bytecode",
            "-r",
            requirements,
            "--python",
            python,
        )
        trees.remove(home)
        write_record(home, own_interpreter())
        new.rename(home)


def run(*arguments: str | Path) -> None:
    subprocess.run([uv.find_uv_bin(), *arguments], check=True)


@pytest.fixture(scope="session")
def default_environment() -> Path:
    """For a conftest: `from tests.support.environments import default_environment  # noqa: F401`."""
    return environment()
