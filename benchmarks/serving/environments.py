"""An environment for each server, made once below `.slipway/benchmarks`, and forests trained in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import uv

FOLDER = Path(".slipway/benchmarks").absolute()
PROGRAMS = Path(__file__).parent / "programs"
PYTHON = sys.executable


def make(name: str, packages: tuple[str, ...]) -> Path:
    """The environment's folder; raises `subprocess.CalledProcessError` when it cannot be had."""
    place = FOLDER / "environments" / name
    if not (place / "made").exists():
        shutil.rmtree(place, ignore_errors=True)
        python = place / "bin/python"
        run(uv.find_uv_bin(), "venv", "--quiet", "--no-project", "--python", PYTHON, place)
        run(
            uv.find_uv_bin(), "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *packages
        )
        (place / "made").touch()
    return place


def forest(environment: Path, trees: int) -> Path:
    """A pickle that this environment can read."""
    path = environment / f"forest-{trees}.pickle"
    if not path.exists():
        run(environment / "bin/python", PROGRAMS / "train.py", str(trees), path)
    return path


def versions(environment: Path, packages: tuple[str, ...]) -> str:
    """What is in it, of these packages: `fastapi 0.100, uvicorn 0.30`."""
    command = [uv.find_uv_bin(), "pip", "list", "--quiet", "--python", environment / "bin/python"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[2:]
    known = dict(line.split()[:2] for line in listed)
    plain = [package.partition("[")[0] for package in packages]
    return ", ".join(f"{name} {known[name]}" for name in plain if name in known)


def run(*command: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, env=environment)
