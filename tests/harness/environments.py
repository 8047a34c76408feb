"""A virtual environment with the appliance's default packages, created once and shared by all tests."""

import fcntl
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import uv

from ml.environments.interpreters import own_interpreter
from ml.sandbox import rmtree
from ml.sandbox.interpreter_record import record_path, write_record

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "resources" / "default-environment" / "requirements.txt"
ENVIRONMENTS = ROOT / ".slipway" / "tests" / "environments"


def environment(requirements: Path = REQUIREMENTS) -> Path:
    """Return the folder of a virtual environment (`bin/python` in it) with the packages of `requirements`.

    It is stored between runs, so that packages are fetched once; tests that run at the same time wait
    for the one that creates it. Treat it as read-only.
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
        rmtree.remove_tree(home)
        write_record(home, own_interpreter())
        new.rename(home)


def run(*arguments: str | Path) -> None:
    subprocess.run([uv.find_uv_bin(), *arguments], check=True)


@pytest.fixture(scope="session")
def default_environment() -> Path:
    """Return the default environment; for a conftest: `from … import default_environment  # noqa: F401`."""
    return environment()
