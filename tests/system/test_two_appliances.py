"""Two whole appliances on one Postgres and one SLIPWAY_HOME: one builds, both serve, either may die."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import select

from db.models import Deployment
from db.states import DeploymentState
from tests.harness import plain_http
from tests.harness.appliance import ROOT, SLIPWAY
from tests.harness.processes import alive, mentioning, tree
from tests.harness.waiting import free_port, wait_until
from tests.ml.conftest import Appliance, make_appliance, shared_home  # noqa: F401
from tests.ml.controller.test_crash import counting, trainings
from tests.models import working

WAITS = "another controller is running"
TAKES_OVER = 30.0  # seconds


@dataclass
class Whole:
    """`slipway up`, and what it says."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    @property
    def said(self) -> str:
        return self.log.read_text()

    def get(self, path: str) -> dict[str, Any]:
        with suppress(httpx.TransportError):
            answer = plain_http.get(f"http://127.0.0.1:{self.port}{path}", timeout=30, trust_env=False)
            found: dict[str, Any] = answer.json() if answer.is_success else {}
            return found
        return {}

    def serves(self, commit: str) -> bool:
        return self.get("/").get("commit") == commit and bool(self.get("/predict?n=2"))

    def kill(self) -> None:
        """SIGKILL to everything that it is made of, as when its machine goes."""
        everybody = tree(self.process.pid)
        for process in everybody:
            with suppress(psutil.NoSuchProcess):  # its leash's end was also its own
                process.kill()
        self.process.wait()
        wait_until(lambda: not alive(everybody), 20, "the killed appliance has ended")


@pytest.fixture
def appliance(make_appliance: Callable[..., Appliance], database_url: str) -> Appliance:  # noqa: F811
    """What both share; its own look-out never looks."""
    return make_appliance(
        DATABASE_URL=database_url,  # as its owner: both migrate it and make the services' roles
        GITHUB_TOKEN="none",
        SLIPWAY_SYNC_SECONDS="0",
        SLIPWAY_SINGER=str(ROOT / ".slipway/tests/singer"),
    )


@pytest.fixture
def start(appliance: Appliance, tmp_path: Path) -> Iterator[Callable[[str], Whole]]:
    with ExitStack() as running:
        yield lambda name: running.enter_context(whole(tmp_path / name))
    assert mentioning(appliance.settings.home) == []


@contextmanager
def whole(log: Path) -> Iterator[Whole]:
    port = free_port()
    variables = os.environ | {"ML_PORT": str(port), "VCS_PORT": str(free_port()), "MLFLOW_TRACKING_URI": ""}
    with log.open("wb") as said:
        process = subprocess.Popen(
            [*SLIPWAY, "up"], env=variables, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    made = Whole(process, log, port)
    try:
        wait_until(lambda: "Slipway runs" in made.said, 170, f"{log.name} says that it runs")
        yield made
    finally:
        process.terminate()
        process.wait()


def states(appliance: Appliance, release: int) -> list[DeploymentState]:
    with appliance.sessions.begin() as session:
        return list(session.scalars(select(Deployment.state).where(Deployment.release_id == release)))


def test_one_builds_and_the_other_takes_over_when_it_dies(
    appliance: Appliance, start: Callable[[str], Whole]
) -> None:
    first = start("first")
    wait_until(lambda: "looking for merges" in first.said, 20, "the first looks")
    second = start("second")
    wait_until(lambda: WAITS in second.said, 20, "the second says that it waits")
    one = appliance.merge(working.quick(value=1.0))
    appliance.notify()
    for whole in (first, second):
        wait_until(lambda whole=whole: whole.serves(one), 60, "both serve the first release")
    assert first.get("/predict?n=2") == second.get("/predict?n=2")
    assert WAITS not in first.said

    files, counter = counting(appliance, seconds=2)
    two = appliance.merge(files)
    appliance.notify()
    wait_until(lambda: trainings(counter), 60, "the training begins")
    first.kill()
    wait_until(lambda: appliance.release(two).attempts == 2, TAKES_OVER, "the second builds it")
    wait_until(lambda: second.serves(two), 60, "the release is live")
    assert states(appliance, appliance.release(two).id) == [DeploymentState.LIVE]
    assert len(appliance.releases()) == 2

    again = start("again")
    wait_until(lambda: again.serves(two), 60, "the first is back and serves it too")
    wait_until(lambda: WAITS in again.said, 20, "and waits now")
    again.process.send_signal(signal.SIGINT)
    assert again.process.wait(30) == 0
    assert second.serves(two)
