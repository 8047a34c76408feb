"""Every process may be killed at any moment and started again: nothing lost, nothing done twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from cli.up.postgres import Postgres
from common.system.spare_child import SPARE_OPTION
from db import claims, migrate, releases
from db.leader import LeaderLock
from db.models import Deployment
from db.session import create_sessionmaker as make_sessions
from db.session import notify
from db.states import Status
from tests.harness.processes import command_line
from tests.harness.waiting import wait_until
from tests.ml.conftest import Appliance
from tests.models import working

BEGUN = "training has begun"


def counting(appliance: Appliance, seconds: float = 0) -> tuple[dict[str, str], Path]:
    """A model that leaves a line for each training in its release's log, and the folder of all releases."""
    files = working.quick(seconds=seconds)
    files["main.py"] = files["main.py"].replace(
        "time.sleep(", f"print({BEGUN!r}, flush=True); time.sleep(", 1
    )
    return files, appliance.settings.home / "releases"


def trainings(releases: Path) -> int:
    return sum(log.read_text().count(BEGUN) for log in releases.glob("*/logs/train.log"))


def deployments_of(appliance: Appliance) -> int:
    with appliance.sessions.begin() as session:
        return session.scalar(select(func.count()).select_from(Deployment)) or 0


def kill_builder(appliance: Appliance) -> None:
    """SIGKILL the builder itself, and then see that its leash ends what it had started."""
    for leash in appliance.lookout.builders.list_pids():
        tree = psutil.Process(leash).children(recursive=True)
        builder = next(p for p in tree if "ml.builder.pipeline" in command_line(p))
        builder.kill()
        appliance.lookout.builders.wait_for_all()
        _, left = psutil.wait_procs(tree, timeout=20)
        assert not left


@pytest.mark.parametrize("stage", ["checkout", "environment", "data", "train", "evaluate", "gate", "deploy"])
def test_a_killed_builder_leaves_a_release_that_goes_on(stage: str, appliance: Appliance) -> None:
    files, counter = counting(appliance, seconds=0.3)
    commit = appliance.merge(files)
    release = appliance.wait_for_stage(stage)
    kill_builder(appliance)
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.DEPLOYED
    assert appliance.wanted() == release.id
    assert deployments_of(appliance) == 1
    if stage in ("evaluate", "gate", "deploy"):
        assert trainings(counter) == 1


def test_a_finished_stage_is_not_run_again(appliance: Appliance) -> None:
    files, counter = counting(appliance)
    files["main.py"] = files["main.py"].replace("return {'SMAPE'", "time.sleep(1); return {'SMAPE'")
    commit = appliance.merge(files)
    appliance.wait_for_stage("evaluate")
    kill_builder(appliance)
    appliance.settle()

    assert appliance.release(commit).status is Status.DEPLOYED
    assert appliance.release(commit).attempts == 2
    assert trainings(counter) == 1


@contextmanager
def watch() -> Iterator[subprocess.Popen[bytes]]:
    """The look-out as a process of its own, with the test's environment."""
    process = subprocess.Popen([sys.executable, "-m", "ml.controller"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ended(appliance: Appliance, commit: str) -> Status | None:
    status = next((r.status for r in appliance.releases() if r.commit == commit), None)
    return status if status and status.has_ended else None


def test_a_killed_controller_ends_its_builder_the_next_goes_on(appliance: Appliance) -> None:
    files, counter = counting(appliance, seconds=2)
    with watch() as first:
        commit = appliance.merge(files)
        appliance.notify()
        wait_until(lambda: trainings(counter), 60, "the training begins")
        below = psutil.Process(first.pid).children(recursive=True)
        first.kill()
        _, left = psutil.wait_procs(below, timeout=20)
        assert not left
    with watch():
        wait_until(lambda: ended(appliance, commit), 60, "the release ends")

    assert appliance.release(commit).status is Status.DEPLOYED
    assert deployments_of(appliance) == 1


def test_a_stopped_controller_requeues_its_release_at_no_cost(appliance: Appliance) -> None:
    files, counter = counting(appliance, seconds=2)
    with watch() as first:
        commit = appliance.merge(files)
        appliance.notify()
        wait_until(lambda: trainings(counter), 60, "the training begins")
        first.terminate()
        assert first.wait(20) == 0

    release = appliance.release(commit)
    assert (release.status, release.attempts) == (Status.QUEUED, 0)


def test_of_two_look_outs_one_waits_and_takes_over(appliance: Appliance) -> None:
    with watch() as first, watch():
        one = appliance.merge(working.quick(smape=0.3))
        appliance.notify()
        wait_until(lambda: ended(appliance, one), 60, "the first release ends")
        first.kill()
        two = appliance.merge(working.quick(smape=0.2))
        appliance.notify()
        wait_until(lambda: ended(appliance, two), 60, "the second release ends")

    assert len(appliance.releases()) == 2
    assert all(release.attempts == 1 for release in appliance.releases())


def test_a_controller_that_leads_no_more_keeps_no_spare(appliance: Appliance) -> None:
    def spares() -> list[psutil.Process]:
        below = psutil.Process(process.pid).children(recursive=True)
        return [each for each in below if SPARE_OPTION in command_line(each)]

    def announce() -> list[psutil.Process]:
        with appliance.sessions.begin() as session:
            notify(session, "syncs")
        return spares()

    def take_over() -> bool:
        with appliance.sessions.begin() as session:
            session.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
            )
        return other.acquire()

    other = LeaderLock(appliance.settings.database_url, "look-out")
    with watch() as process:
        wait_until(announce, 60, "a spare builder waits")
        wait_until(take_over, 30, "another controller leads")
        wait_until(lambda: not spares(), 30, "the spare builder has ended")
        assert process.poll() is None
    other.release()


def test_a_hand_on_the_release_is_needed_to_write_it(appliance: Appliance) -> None:
    """A builder that was given up and still lives can change nothing any more."""
    files, _ = counting(appliance, seconds=3)
    commit = appliance.merge(files)
    appliance.wait_for_stage("train")
    with appliance.sessions.begin() as session:
        building = releases.list_building(session)[0]
        claims.requeue_orphaned(session, building)
    appliance.lookout.builders.wait_for_all()
    assert appliance.release(commit).status is Status.QUEUED
    assert deployments_of(appliance) == 0
    appliance.settle()

    assert appliance.release(commit).status is Status.DEPLOYED
    assert deployments_of(appliance) == 1


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path / "own-postgres").start()
    yield server
    server.stop()


@pytest.fixture
def on_own_postgres(own_postgres: Postgres, make_appliance: Callable[..., Appliance]) -> Iterator[Appliance]:
    """An appliance whose Postgres may be killed."""
    migrate.upgrade_schema(own_postgres.database_url())
    made = make_appliance(DATABASE_URL=own_postgres.database_url())
    own: sessionmaker[Session] = make_sessions(own_postgres.database_url())
    made.sessions = made.lookout.sessions = own
    yield made
    own.kw["bind"].dispose()


def test_a_killed_postgres_loses_no_release(on_own_postgres: Appliance, own_postgres: Postgres) -> None:
    appliance = on_own_postgres
    files, counter = counting(appliance, seconds=1)
    with watch():
        commit = appliance.merge(files)
        appliance.notify()
        wait_until(lambda: trainings(counter), 60, "the training begins")
        kill_postgres(own_postgres)
        time.sleep(0.5)
        own_postgres.start()
        wait_until(lambda: ended(appliance, commit), 120, "the release ends")
        again = appliance.merge(working.quick(smape=0.1))
        appliance.notify()
        wait_until(lambda: ended(appliance, again), 60, "and the look-out still looks")

    assert appliance.release(commit).status is Status.DEPLOYED
    assert deployments_of(appliance) == 2


def kill_postgres(server: Postgres) -> None:
    pid = int((server.data / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(10)
