"""What an appliance depends on fails and comes back: users are answered, and what was merged goes live."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from cli.up.postgres import Postgres
from resources.demo.github import FakeGitHub, FakePullRequests
from resources.demo.github.written import WrittenStates
from resources.demo.server import GitHttpHandler
from tests.harness.appliance import ROOT, Running
from tests.harness.faults import Clock, Hole, fill, frozen, make_room, small_disk
from tests.harness.processes import tree
from tests.harness.repositories import Files, ModelRepository
from tests.harness.waiting import wait_until
from tests.models import working

REPOSITORY = "acme/web-traffic"
SHARED = ROOT / ".slipway" / "tests"  # environments and uv's cache, kept between runs
TOML = '[data]\ntrain = "data/train.csv"\ntest = "data/test.csv"\nformat = "path"\n'
LONG = 120  # seconds of a fault
HOUR = 3600
SECONDS = pytest.mark.parametrize("seconds", [8, pytest.param(LONG, marks=pytest.mark.soak)])


def model(number: int, seconds: float = 0) -> Files:
    """One without packages, that trains for so long."""
    quick = working.quick(value=float(number), seconds=seconds)
    return {**quick, "requirements.txt": "", "slipway.toml": TOML}


class GitHubWithGit(FakeGitHub):
    """GitHub with one repository that has pull requests and can be cloned."""

    def __init__(self, pulls: FakePullRequests, repository: ModelRepository) -> None:
        super().__init__(("127.0.0.1", 0), (pulls,), None, {}, WrittenStates())
        self.RequestHandlerClass = GitHttpHandler
        self.bare_path = repository.path / ".git"


@dataclass
class World:
    """An appliance, and what it depends on: each may be broken."""

    running: Running
    postgres: Postgres
    repository: ModelRepository
    pulls: FakePullRequests
    git: Hole
    disks: Path  # the parent of the small ones

    def merge(self, seconds: float = 0) -> str:
        """Merge a pull request at GitHub, and give its commit."""
        number = self.pulls.open("Change", head="change")
        commit = self.repository.merge_pull_request(number, model(number, seconds))
        self.pulls.merge(number, commit)
        return commit

    def answers_for(self, seconds: float) -> None:
        """See predictions answered for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            answer = self.running.get("/predict?n=3")
            assert answer.is_success, answer.text
            assert len(answer.json()["prediction"]) == 3
            time.sleep(0.2)

    def is_well_with(self, commit: str, seconds: float = 60) -> None:
        """See all services well, and the merged commit live; with `seconds` for a pause that it is in."""
        wait_until(self.running.healthy, 30, "the services are well")
        wait_until(lambda: self.running.live().get("commit") == commit, seconds, "what was merged is live")
        assert self.running.get("/predict?n=3").json()["commit"] == commit

    def release(self, commit: str) -> dict[str, Any]:
        """What is known of the release of a commit; nothing while it has none."""
        releases = self.running.get("/releases").json()["releases"]
        return next((release for release in releases if release["commit"] == commit), {})

    def becomes(self, commit: str, status: str) -> None:
        """Wait until the release of a commit has this status."""
        wait_until(lambda: self.release(commit).get("status") == status, 60, f"the release is {status}")

    def lost(self) -> list[str]:
        """Releases that ended for no fault of their commit."""
        releases = self.running.get("/releases").json()["releases"]
        return [str(release) for release in releases if release["status"] not in ("deployed", "superseded")]


MakeWorld = Callable[..., World]


@pytest.fixture(scope="module")
def make_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeWorld]:
    with ExitStack() as ends:

        def make(disks: Mapping[str, int] = {}, clock: Clock | None = None, **more: str) -> World:
            """With a live release; `disks`: bytes of `home` and of `postgres`, `clock`: that of Postgres."""
            folder = tmp_path_factory.mktemp("world")
            for name, size in disks.items():
                (folder / name).mkdir()
                ends.enter_context(small_disk(folder / name, size))
            repository = ModelRepository(folder / "repository")
            pulls = FakePullRequests(REPOSITORY)
            github = ends.enter_context(GitHubWithGit(pulls, repository))
            git = Hole(github.server_port)
            ends.callback(git.close)
            with pytest.MonkeyPatch.context() as patch:
                for name, value in (clock.environment if clock else {}).items():
                    patch.setenv(name, value)
                postgres = Postgres(folder / "postgres").start()
            ends.callback(postgres.stop)
            (folder / "home").mkdir(exist_ok=True)
            for name in ("environments", "cache"):
                (SHARED / name).mkdir(parents=True, exist_ok=True)
                (folder / "home" / name).symlink_to(SHARED / name)
            told = {
                "DATABASE_URL": postgres.database_url(),
                "SLIPWAY_REPOSITORY": REPOSITORY,
                "SLIPWAY_CLONE_URL": f"http://127.0.0.1:{git.port}/.git",
                "SLIPWAY_SYNC_SECONDS": "2",
                "GITHUB_API_URL": github.url,
                "NO_PROXY": "127.0.0.1",
            }
            running = Running(folder, **told, **more)
            ends.callback(stop, running)
            made = World(running, postgres, repository, pulls, git, folder)
            made.is_well_with(made.merge())
            return made

        yield make


def stop(running: Running) -> None:
    running.process.terminate()
    running.process.wait()


@pytest.fixture(scope="module")
def world(make_world: MakeWorld) -> World:
    return make_world()


def servers(postgres: Postgres) -> list[psutil.Process]:
    assert postgres.process is not None
    return tree(postgres.process.pid)[1:]


def kill(postgres: Postgres) -> None:
    pid = int((postgres.data / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(10)


@SECONDS
def test_postgres_is_frozen_then_gone_then_back(world: World, seconds: int) -> None:
    with frozen(servers(world.postgres)):
        commit = world.merge()
        world.answers_for(seconds)
        assert "Postgres is unavailable" in world.running.get("/", "text/html").text
        kill(world.postgres)
    world.answers_for(seconds / 4)
    world.postgres.start()

    world.is_well_with(commit)
    assert world.lost() == []


@pytest.mark.soak
@pytest.mark.parametrize("seconds", [8, 100])
def test_the_git_server_takes_connections_and_says_nothing(world: World, seconds: int) -> None:
    """For longer than git waits for a byte, in the long one."""
    world.git.open.clear()
    commit = world.merge()
    world.answers_for(seconds)
    world.git.open.set()

    world.is_well_with(commit, 120)
    assert world.lost() == []


@pytest.mark.soak
def test_the_disk_of_the_home_is_full(make_world: MakeWorld) -> None:
    world = make_world(disks={"home": 96 << 20})
    fill(world.disks / "home")
    commit = world.merge()
    world.answers_for(20)
    assert "disk is full" in str(world.release(commit)["reason"])
    make_room(world.disks / "home")

    world.is_well_with(commit, 120)
    assert world.lost() == []


@pytest.mark.soak
@pytest.mark.parametrize("ends", [False, True])
def test_the_disk_of_postgres_is_full(make_world: MakeWorld, ends: bool) -> None:
    """Postgres takes no row any more, or ends when it can write no log of its changes either."""
    world = make_world(disks={"postgres": 384 << 20})
    fill(world.disks / "postgres")
    fill_tables(world.postgres)
    commit = world.merge(seconds=5)
    if ends:
        end_of_full_disk(world.postgres)
    world.answers_for(LONG)
    make_room(world.disks / "postgres")
    if not world.postgres.is_ready():  # as Docker and `slipway up` do
        world.postgres.start()

    world.is_well_with(commit, 300)
    assert world.lost() == []


def fill_tables(postgres: Postgres) -> None:
    """Leave no room in the pages that tables have."""
    connection = psycopg2.connect(postgres.database_url())
    connection.autocommit = True
    for table, row in {
        "stages": "(release_id, name, outcome) VALUES (1, 'none', 'done')",
        "requests": (
            "(id, row, at, model, release_id, route, client_id, milliseconds, is_whole, is_reduced) "
            "VALUES (gen_random_uuid(), 0, now(), 'none', 1, 'predict', 'c', 1, false, false)"
        ),
    }.items():
        with pytest.raises(psycopg2.errors.DiskFull):
            while True:
                connection.cursor().execute(f"INSERT INTO {table} {row}")
    connection.close()


def end_of_full_disk(postgres: Postgres) -> None:
    """Have Postgres begin new files of its log until there is no room for one."""
    with pytest.raises(psycopg2.OperationalError):
        while True:
            connection = psycopg2.connect(postgres.database_url())
            connection.cursor().execute("SELECT pg_switch_wal()")
            connection.commit()
            connection.close()


@pytest.mark.parametrize("whose", ["ours", "postgres"])
@pytest.mark.parametrize("hours", [1, -1])
@pytest.mark.soak
def test_a_clock_is_set(make_world: MakeWorld, tmp_path: Path, whose: str, hours: int) -> None:
    """While a release is built and the next one waits; and back again."""
    clock = Clock(tmp_path / "time")
    world = make_world(clock=clock) if whose == "postgres" else make_world(**clock.environment)
    for time_of_day in (hours * HOUR, 0):
        building = world.merge(seconds=5)
        world.becomes(building, "building")
        commit = world.merge()
        world.becomes(commit, "queued")
        clock.set(time_of_day)
        world.is_well_with(commit)
        world.answers_for(3)
    assert world.lost() == []
