"""The environment of each server, created once below `.slipway/benchmarks`, and forests trained in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import uv

from benchmarks.serving.processes import Command

FOLDER = Path(".slipway/benchmarks").absolute()
PROGRAMS = Path(__file__).parent / "programs"
PYTHON = sys.executable


def make(name: str, packages: tuple[str, ...]) -> Path:
    """Return the environment's folder; raises `subprocess.CalledProcessError` when it cannot be created."""
    folder = FOLDER / "environments" / name
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        python = folder / "bin/python"
        run(uv.find_uv_bin(), "venv", "--quiet", "--no-project", "--python", PYTHON, folder)
        run(
            uv.find_uv_bin(), "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *packages
        )
        (folder / "made").touch()
    return folder


def forest(environment: Path, trees: int) -> Path:
    """Return the path of a forest, pickled so that this environment can read it."""
    path = environment / f"forest-{trees}.pickle"
    if not path.exists():
        run(environment / "bin/python", PROGRAMS / "train.py", str(trees), path)
    return path


def versions(environment: Path, packages: tuple[str, ...]) -> str:
    """Return the installed versions of these packages: `fastapi 0.100, uvicorn 0.30`."""
    command: Command = [
        uv.find_uv_bin(),
        "pip",
        "list",
        "--quiet",
        "--python",
        environment / "bin/python",
    ]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[2:]
    installed = dict(line.split()[:2] for line in listed)
    plain = [package.partition("[")[0] for package in packages]
    return ", ".join(f"{name} {installed[name]}" for name in plain if name in installed)


def run(*command: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, env=environment)
