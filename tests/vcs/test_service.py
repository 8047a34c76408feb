"""The process `python -m vcs`: how it starts, what a flood does to it, and that nothing outlives it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from common.system import pinned_venv
from db import appliance
from db import session as db_session
from resources.demo.github import FakeGitHub, FakePullRequests, GitHubFault
from resources.demo.github.pulls import generate_pulls
from tests.harness import plain_http
from tests.harness.processes import alive, tree
from tests.harness.waiting import free_port, wait_until
from tests.vcs.conftest import REPOSITORY, TOKEN
from vcs.settings import VcsSettings

Service = tuple[subprocess.Popen[str], httpx.Client]


@pytest.fixture
def variables(settings: VcsSettings) -> dict[str, str]:
    return {
        **os.environ,
        "SLIPWAY_REPOSITORY": REPOSITORY,
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_API_URL": settings.github_api_url,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "SLIPWAY_SINGER": str(settings.singer),
        "SLIPWAY_SYNC_SECONDS": "0",
        "VCS_PORT": str(free_port()),
    }


def start(variables: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "vcs"], env=variables, stderr=subprocess.PIPE, text=True)


@contextmanager
def started(variables: dict[str, str]) -> Iterator[Service]:
    process = start(variables)
    with plain_http.Client(base_url=f"http://127.0.0.1:{variables['VCS_PORT']}", timeout=60) as client:
        wait_until(lambda: answers(client) or process.poll() is not None, 30, "vcs listens")
        yield process, client
    process.kill()
    process.communicate()


@pytest.fixture
def service(variables: dict[str, str]) -> Iterator[Service]:
    with started(variables) as running:
        yield running


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code > 0
    except httpx.TransportError:
        return False


def last_words(variables: dict[str, str]) -> str:
    _, said = start(variables).communicate(timeout=60)
    return said.strip()


def test_nothing_outlives_it_when_it_is_killed(
    service: Service, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    singers = in_the_middle_of_a_sync(service, github, pulls)
    service[0].kill()

    wait_until(lambda: not alive(singers), 10, "the tap and the target end")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_even_while_a_sync_runs(
    number: signal.Signals, service: Service, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    process, client = service
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(client.post, "/checkout")
        singers = in_the_middle_of_a_sync(service, github, pulls, asked=True)
        process.send_signal(number)

        assert process.wait(5) == 0
        assert alive(singers) == []
        assert waiting.result().json()["kind"] == "stopping"


def in_the_middle_of_a_sync(
    service: Service, github: FakeGitHub, pulls: FakePullRequests, asked: bool = False
) -> list[psutil.Process]:
    """The processes of Singer while GitHub makes the tap wait."""
    process, client = service
    generate_pulls(pulls, 150)
    github.faults.arm(GitHubFault("none", after=1, delay=30))
    if not asked:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/checkout", timeout=0.1)
    wait_until(lambda: len(github.log) == 2, 30, "the second page is asked for")
    singers = tree(process.pid)[1:]
    assert len(singers) == 2
    return singers


def test_a_flood_of_calls_shares_few_syncs_and_few_threads(
    service: Service, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    generate_pulls(pulls, 20)
    process, client = service
    with ThreadPoolExecutor(100) as threads:
        calls = [threads.submit(client.post, "/checkout") for _ in range(100)]
        wait_until(lambda: github.log, 30, "a sync")
        most = psutil.Process(process.pid).num_threads()
        found = [call.result() for call in calls]

    assert {answer.status_code for answer in found} == {200}
    assert len(github.log) <= 3
    assert most < 20


def test_what_it_cannot_follow_is_one_line(variables: dict[str, str]) -> None:
    said = last_words(variables | {"SLIPWAY_REPOSITORY": "acme widgets"})

    assert said.startswith("SLIPWAY_REPOSITORY: ")
    assert "must be owner/name" in said
    assert "\n" not in said


def test_a_taken_port_is_one_line(variables: dict[str, str], github: FakeGitHub) -> None:
    with socket.create_server(("127.0.0.1", int(variables["VCS_PORT"]))):
        said = last_words(variables | {"SLIPWAY_SYNC_SECONDS": "60"})

    assert said.endswith("is taken: end what listens there, or choose another with VCS_PORT")
    assert "Errno" not in said
    assert github.log == []


def test_a_database_of_the_demo_is_not_mixed_with_a_repository(variables: dict[str, str]) -> None:
    with db_session.create_sessionmaker(variables["DATABASE_URL"]).begin() as session:
        appliance.set_mode(session, "demo")

    assert "belongs to the demo" in last_words(variables)


def test_a_database_without_tables_is_one_line(variables: dict[str, str]) -> None:
    name = variables["DATABASE_URL"].rpartition("/")[2]
    said = last_words(variables | {"DATABASE_URL": variables["DATABASE_URL"].replace(name, "template1")})

    assert "run `python -m db.migrate` first" in said
    assert "Traceback" not in said


def test_it_answers_while_singer_is_installed(
    variables: dict[str, str],
    settings: VcsSettings,
    github: FakeGitHub,
    pulls: FakePullRequests,
    tmp_path: Path,
) -> None:
    """And reads pull requests as soon as that is done, with nobody asking."""
    generate_pulls(pulls, 3)
    home = tmp_path / "singer"
    told = variables | {"SLIPWAY_SINGER": str(home), "SLIPWAY_SYNC_SECONDS": "3600"}
    with pinned_venv.lock_folder(home), started(told) as (_, client):
        assert client.get("/health").status_code == 503
        refused = client.post("/checkout")
        (home / "tap").symlink_to(settings.singer_home / "tap")
        (home / "target").symlink_to(settings.singer_home / "target")
        assert "Singer is being installed" in client.get("/pull-requests").json()["trouble"]
        wait_until(
            lambda: len(client.get("/pull-requests?state=all").json()["pull_requests"]) == 3, 60, "synced"
        )

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert "Singer is being installed" in refused.json()["title"]
