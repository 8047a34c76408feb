"""Slipway's `serve` with its defaults and one live release, as users run it."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import uv

from benchmarks.serving import environments, processes
from benchmarks.serving.environments import FOLDER, PROGRAMS
from benchmarks.serving.processes import Command, Server
from cli.up.postgres import Postgres
from db import databases, deployments, migrate
from db.models import Release
from db.session import create_sessionmaker
from db.states import Cause, Status
from ml.paths import HomeLayout
from tests.conftest import execute
from tests.harness.repositories import ModelRepository
from tests.harness.waiting import free_port

ROOT = Path(__file__).parents[2]
ROW = [0.1, 0.2, 0.3, 0.4, 0.5]


def batching(environment: Path, trees: int) -> Server:
    return served(environment, trees, (PROGRAMS / "main.py").read_text())


def unrecorded(environment: Path, trees: int) -> Server:
    return served(environment, trees, (PROGRAMS / "main.py").read_text(), SLIPWAY_RECORD="0")


def plain(environment: Path, trees: int) -> Server:
    whole = (PROGRAMS / "main.py").read_text()
    return served(environment, trees, whole.replace("def predict_batch", "def _not_found"))


@dataclass
class Served:
    """A running `serve`, and the data that another release needs."""

    url: str
    home: Path
    repository: ModelRepository
    main: str
    forest: Path
    lock: str
    server: Server
    switches: int = 0
    model: str = "forest"

    def publish(self) -> int:
        """Store a release as the gate does, built and wanted; return its number."""
        commit = self.repository.write({"main.py": self.main, "note": os.urandom(4).hex()}).commit("A forest")
        trained = self.forest.read_bytes()
        with create_sessionmaker(self.url).begin() as session:
            release = Release(
                model=self.model,
                repository=f"acme/{self.model}",
                commit=commit,
                entry_point="main:entry_point",
                python=platform.python_version(),
                lock=self.lock,
                artifact=hashlib.sha256(trained).hexdigest(),
                status=Status.DEPLOYED,
                kind="regression",
            )
            session.add(release)
            session.flush()
            number = release.id
            artifact = HomeLayout(self.home).artifact_path(self.model, number)
            artifact.parent.mkdir(parents=True, exist_ok=True)
            artifact.write_bytes(trained)
        self.want(number)
        return number

    def want(self, number: int) -> None:
        who = "the benchmark"
        with create_sessionmaker(self.url).begin() as session:
            deployments.create_decision(
                session, self.model, number, Cause.OPERATOR, who=who, why=None, snapshot=None
            )

    def switch(self) -> None:
        """Switch to the other one of two releases, and wait until it is live."""
        number = 1 + self.switches % 2
        self.want(number)
        while self.live() != number:
            time.sleep(0.1)
        self.switches += 1

    def live(self) -> int | None:
        with create_sessionmaker(self.url).begin() as session:
            found = deployments.find_live(session, self.model)
            return (
                found.release_id if found and deployments.find_wanted(session, self.model) is None else None
            )


def served(environment: Path, trees: int, main: str, **more: str) -> Server:
    return serve(environment, trees, main, models=None, **more).server


def serve(
    environment: Path, trees: int, main: str, *, name: str = "", models: Path | None = None, **more: str
) -> Served:
    """Start `serve` twice and return the second one, which finds the environment built."""
    name = name or f"slipway-{trees}-{hashlib.sha256(main.encode()).hexdigest()[:6]}-{len(more)}"
    home, port = FOLDER / name, free_port()
    environments.run("rm", "-rf", home)
    repository = ModelRepository(home / "repository")
    url = created(database(), name.replace("-", "_"))
    variables = {
        "DATABASE_URL": url,
        "SLIPWAY_HOME": str(home),
        "SLIPWAY_REPOSITORY": "" if models else "acme/forest",
        "SLIPWAY_CLONE_URL": "" if models else repository.url,
        "SLIPWAY_MODELS": str(models or ""),
        "ML_PORT": str(port),
        "PYTHONDONTWRITEBYTECODE": "",
        **more,
    }
    command, log = [sys.executable, "-m", "ml"], FOLDER / f"{name}.log"
    path = "models/forest/predict" if models else "predict"
    address, body = f"http://127.0.0.1:{port}/{path}", json.dumps(ROW)
    forest = environments.forest(environment, trees)
    nobody = Server(psutil.Process(), address, body, 0.0)
    made = Served(url, home, repository, main, forest, lock(environment), nobody)
    made.publish()
    processes.start(command, variables, url=address, body=body, log=log, cwd=ROOT).end()
    made.server = processes.start(command, variables, url=address, body=body, log=log, cwd=ROOT)
    return made


def lock(environment: Path) -> str:
    """Return the packages of the environment that the forest was trained in."""
    command: Command = [
        uv.find_uv_bin(),
        "pip",
        "freeze",
        "--quiet",
        "--python",
        environment / "bin/python",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


_servers: list[Postgres] = []


def database() -> Postgres:
    """Return the one Postgres of all servers; `end` ends it."""
    if not _servers:
        folder = FOLDER / f"postgres-{os.getpid()}"
        folder.mkdir(parents=True)
        _servers.append(Postgres(folder).start())
    return _servers[0]


def created(postgres: Postgres, name: str) -> str:
    """Create a database and return its URL."""
    execute(postgres, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    databases.create(postgres.database_url(), name)
    migrate.upgrade_schema(postgres.database_url(name))
    return postgres.database_url(name)


def end() -> None:
    for server in _servers:
        server.stop()
        environments.run("rm", "-rf", server.home)
    _servers.clear()
