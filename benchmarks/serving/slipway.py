"""Slipway's `serve` with its defaults and one live release, as a user gets it."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import uv

from benchmarks.serving import environments, processes
from benchmarks.serving.environments import FOLDER, PROGRAMS
from benchmarks.serving.processes import Server
from cli.postgres import Postgres
from db import databases, deployments, migrate
from db.models import Cause, Release, Status
from db.session import sessions
from ml.home import Home
from tests.support.repositories import ModelRepository
from tests.support.waiting import free_port

ROOT = Path(__file__).parents[2]
ROW = [0.1, 0.2, 0.3, 0.4, 0.5]


def batching(environment: Path, trees: int) -> Server:
    return served(environment, trees, (PROGRAMS / "main.py").read_text())


def plain(environment: Path, trees: int) -> Server:
    whole = (PROGRAMS / "main.py").read_text()
    return served(environment, trees, whole.replace("def predict_batch", "def _not_found"))


def served(environment: Path, trees: int, main: str, **more: str) -> Server:
    """Its first answer is that of a second start: the environment is there."""
    name = f"slipway-{trees}-{hashlib.sha256(main.encode()).hexdigest()[:6]}-{len(more)}"
    home, port = FOLDER / name, free_port()
    environments.run("rm", "-rf", home)
    repository = ModelRepository(home / "repository")
    postgres = database()
    url = postgres.url(created(postgres, name.replace("-", "_")))
    commit = repository.write({"main.py": main}).commit("A forest")
    publish(url, home, commit, environments.forest(environment, trees), lock(environment))
    variables = {
        "DATABASE_URL": url,
        "SLIPWAY_HOME": str(home),
        "SLIPWAY_REPOSITORY": "acme/forest",
        "SLIPWAY_CLONE_URL": repository.url,
        "ML_PORT": str(port),
        "PYTHONDONTWRITEBYTECODE": "",
        **more,
    }
    command, log = [sys.executable, "-m", "ml"], FOLDER / f"{name}.log"
    address, body = f"http://127.0.0.1:{port}/predict", json.dumps(ROW)
    processes.start(command, variables, url=address, body=body, log=log, cwd=ROOT).end()
    return processes.start(command, variables, url=address, body=body, log=log, cwd=ROOT)


def publish(url: str, home: Path, commit: str, forest: Path, lock: str) -> None:
    """Leave a release as the gate does: built, and wanted."""
    trained = forest.read_bytes()
    with sessions(url).begin() as session:
        release = Release(
            model="forest",
            repository="acme/forest",
            commit=commit,
            entry_point="main:entry_point",
            python=platform.python_version(),
            lock=lock,
            artifact=hashlib.sha256(trained).hexdigest(),
            status=Status.DEPLOYED,
            kind="regression",
        )
        session.add(release)
        session.flush()
        artifact = Home(home).artifact("forest", release.id)
        artifact.parent.mkdir(parents=True)
        artifact.write_bytes(trained)
        deployments.decide(
            session, "forest", release.id, Cause.OPERATOR, who="benchmark", why=None, seen=None
        )


def lock(environment: Path) -> str:
    """The packages of the environment that the forest was trained in."""
    command = [uv.find_uv_bin(), "pip", "freeze", "--quiet", "--python", environment / "bin/python"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


_servers: list[Postgres] = []


def database() -> Postgres:
    """One for all; `end` ends it."""
    if not _servers:
        folder = FOLDER / f"postgres-{os.getpid()}"
        folder.mkdir(parents=True)
        _servers.append(Postgres(folder).start())
    return _servers[0]


def created(postgres: Postgres, name: str) -> str:
    databases.create(postgres.url(), name)
    migrate.upgrade(postgres.url(name))
    return name


def end() -> None:
    for server in _servers:
        server.stop()
        environments.run("rm", "-rf", server.home)
    _servers.clear()
