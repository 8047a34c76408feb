"""A served model without its building half: releases are left as a builder leaves them, `serve` is real."""

import contextlib
import hashlib
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import httpx
import uvicorn
from sqlalchemy.orm import Session, sessionmaker

from cli.up.postgres import Postgres
from common.web.connection_limits import ConnectionLimits
from common.web.server import ServerConfig
from db import deployment_history, deployments, migrate, releases
from db import session as db_session
from db.models import Deployment, Release
from db.states import Cause, Status
from ml.paths import HomeLayout
from ml.settings import MlSettings
from ml.web.app import create
from tests.conftest import FAST
from tests.harness import plain_http
from tests.harness.repositories import ModelRepository
from tests.harness.waiting import free_port, wait_until

LIMITS = ConnectionLimits(proxies=("127.0.0.1",))  # as by default
ROOT = Path(__file__).parents[3]


def main_py(
    predict: str = "return features", head: str = "", more: str = "", features: str = "features"
) -> str:
    """A repository's main.py whose `predict` has this body; the standard library is all that it needs."""
    return (
        "import os, sys, time, typing\n"
        + dedent(head)
        + "\n\nclass EntryPoint:\n"
        + "    def train(self, data): return b''\n"
        + "    def evaluate(self, model, data): return {'SMAPE': 0.25}\n"
        + "    def info(self): return {'Name': 'Test', 'Type': 'Generic'}\n"
        + f"    def predict(self, model, {features}):\n"
        + indent(dedent(predict).strip("\n"), " " * 8)
        + "\n"
        + indent(dedent(more).strip("\n"), " " * 4)
        + "\n\nentry_point = EntryPoint()\n"
    )


def differences(**facts: Any) -> dict[str, Any]:
    """How a release's predictions differ, as the gate leaves it."""
    return {"compared_with": 1, "inputs": "recorded requests", "failed": 0, **facts}


@contextlib.contextmanager
def apart(make_shop: Callable[..., "Shop"], folder: Path) -> Iterator[tuple["Shop", Postgres]]:
    """A shop on a Postgres of its own, which may be stopped and started."""
    own = Postgres(folder, settings=FAST).start()
    try:
        migrate.upgrade_schema(own.database_url())
        factory = db_session.create_sessionmaker(own.database_url())
        made = make_shop(DATABASE_URL=own.database_url())
        yield Shop(made.settings, factory, made.repository), own
        factory.kw["bind"].dispose()
    finally:
        own.stop()


@dataclass
class Shop:
    """Publishes releases, and asks for predictions over HTTP."""

    settings: MlSettings
    sessions: sessionmaker[Session]
    repository: ModelRepository
    url: str = ""
    client: httpx.Client = field(default_factory=lambda: plain_http.Client(timeout=30))
    published: int = 0
    model: str = ""  # the one that is published; the first, unless another is named

    def __post_init__(self) -> None:
        self.model = self.model or self.settings.list_models()[0].name

    def publish(
        self,
        source: str,
        *,
        trained: bytes = b"trained",
        rows: list[Any] | None = None,
        wait: bool = True,
        **facts: Any,
    ) -> int:
        """Leave a release as the gate does: built, deployed, wanted. With `wait`, until it is live.

        One of another status than `deployed` is not wanted. `rows` are what `evaluate` leaves to try it with.
        """
        self.published += 1
        commit = self.repository.write({"main.py": source}).commit(f"Change {self.published}")
        with self.sessions.begin() as session:
            release = Release(
                model=self.model,
                repository=f"acme/{self.model}",
                commit=commit,
                entry_point="main:entry_point",
                python=platform.python_version(),
                **{
                    "pull_request": self.published,
                    "lock": "",
                    "artifact": hashlib.sha256(trained).hexdigest(),
                    "status": Status.DEPLOYED,
                    "title": f"Change {self.published}",
                    "kind": "generic",
                    "info": {"Name": "Test"},
                    "metrics": {"SMAPE": 0.25},
                    **facts,
                },
            )
            session.add(release)
            session.flush()
            artifact = HomeLayout(self.settings.home).artifact_path(release.isolation, release.id)
            artifact.parent.mkdir(parents=True, exist_ok=True)
            artifact.write_bytes(trained)
            scored = HomeLayout(self.settings.home).scored(release.id)
            scored.parent.mkdir(parents=True, exist_ok=True)
            scored.write_text(json.dumps({"rows": rows}))
        if release.status is Status.DEPLOYED:
            self.want(release.id)
            if wait:
                self.until_live(release.id)
        return release.id

    def want(self, release: int) -> None:
        with self.sessions.begin() as session:
            deployments.create_decision(
                session, self.model, release, Cause.OPERATOR, who="test", why=None, snapshot=None
            )

    def deployment(self, release: int) -> Deployment:
        with self.sessions.begin() as session:
            return deployment_history.find_newest_by_release(session, [release])[release]

    def until(self, release: int, state: str) -> Deployment:
        def reached() -> Deployment | None:
            known = self.deployment(release)
            return known if known.state == state else None

        found = wait_until(reached, 60, f"release {release} is {state}: {self.deployment(release).reason}")
        assert found is not None
        return found

    def until_live(self, release: int) -> None:
        """Wait until it is live for Postgres, and then for clients of `serve`."""
        self.until(release, "live")
        wait_until(lambda: self.answers_from(release), 30, f"release {release} answers")

    def answers_from(self, release: int) -> bool:
        """Whether clients get this release; a private appliance shows it to operators alone."""
        answer = self.get(f"/models/{self.model}")
        return answer.status_code == 401 or answer.json().get("release") == release

    def release(self, number: int) -> Release:
        with self.sessions.begin() as session:
            found = releases.find(session, number)
            assert found is not None
            return found

    def predict(self, features: Any, path: str = "/predict") -> httpx.Response:
        return self.client.post(self.url + path, json=features)

    def get(self, path: str, accept: str = "application/json", **more: Any) -> httpx.Response:
        return self.client.get(self.url + path, headers={"Accept": accept}, **more)

    def served(self) -> int | None:
        """The release that clients of `serve` get."""
        document = self.get(f"/models/{self.model}").json()
        number: int | None = document.get("release")
        return number

    def log(self, release: int) -> str:
        return HomeLayout(self.settings.home).log_path(release, "serve").read_text()

    @contextlib.contextmanager
    def serving(self, limits: ConnectionLimits = LIMITS) -> Iterator["Shop"]:
        """`serve` in this process, in a thread of its own, until the block ends."""
        server = uvicorn.Server(
            ServerConfig(create(self.settings), host="127.0.0.1", port=0, limits=limits, grace=2)
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive(), 30, "serve has started")
            port = server.servers[0].sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            yield self
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()

    @contextlib.contextmanager
    def process(self, *before: str) -> Iterator[subprocess.Popen[bytes]]:
        """`python -m ml` as a process of its own, after these words; killed when the block ends."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        told = {"ML_PORT": str(port), "DATABASE_URL": self.settings.database_url}
        command = [*before, sys.executable, "-m", "ml"]
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **told})
        try:
            wait_until(self.answers, 30, "serve has started")
            yield process
        finally:
            process.kill()
            process.wait()

    def answers(self) -> bool:
        try:
            self.get("/health")
        except httpx.TransportError:
            return False
        return True


class Load:
    """Clients that predict one after the other until the block ends; what they got is kept.

    With `rest` seconds between two predictions they leave the CPU to a release that starts meanwhile.
    """

    def __init__(self, shop: Shop, features: Any = 1, clients: int = 4, rest: float = 0) -> None:
        self.shop, self.features, self.clients, self.rest = shop, features, clients, rest
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        with plain_http.Client(timeout=30) as client:
            while not self._over.is_set():
                answer = client.post(self.shop.url + "/predict", json=self.features)
                self.answers.append((answer.status_code, answer.json()))
                self._over.wait(self.rest)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Until so many more predictions were answered."""
        goal = len(self.answers) + more
        while len(self.answers) < goal:
            time.sleep(0.005)

    @property
    def failed(self) -> list[tuple[int, dict[str, Any]]]:
        return [(status, document) for status, document in self.answers if status != 200]
