"""SIGKILL of the builder, the look-out and Postgres in every stage: the same end as without.

A fifth of these run in `make test`, all of them in `make soak`.
"""

import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import product

import psutil
import pytest
from sqlalchemy import func, select

from cli.up.postgres import Postgres
from db import releases
from db.models import Deployment
from db.states import Status
from tests.harness.processes import command_line
from tests.harness.waiting import wait_until
from tests.ml.conftest import Appliance
from tests.ml.controller.test_crash import counting, ended, kill_postgres, trainings, watch

STAGES = ("checkout", "environment", "data", "train", "evaluate", "gate", "deploy")
MOMENTS = ("start", "middle", "end")


def cases() -> list[object]:
    """Every victim in every stage at every moment; four of five are for the soak."""
    every = [*product(("builder", "look-out"), STAGES, MOMENTS), *(("Postgres", s, "middle") for s in STAGES)]
    return [
        pytest.param(*case, id="-".join(case), marks=[] if number % 5 == 0 else [pytest.mark.soak])
        for number, case in enumerate(every)
    ]


@pytest.fixture
def killable(
    victim: str, request: pytest.FixtureRequest, make_appliance: Callable[..., Appliance]
) -> Appliance:
    """An appliance; on a Postgres of its own where that is to be killed."""
    if victim == "Postgres":
        found: Appliance = request.getfixturevalue("on_server")
        return found
    return make_appliance()


def wait_for(appliance: Appliance, stage: str, moment: str) -> None:
    """Until the newest release is at the start, in the middle, or at the end of `stage`."""

    def reached() -> bool:
        newest = appliance.releases()
        if not newest:
            return False
        with appliance.sessions.begin() as session:
            found = releases.find(session, newest[0].id)
            assert found is not None
            known = {row.name: row for row in found.stages}
        return stage in known and (moment != "end" or known[stage].ended_at is not None)

    wait_until(reached, 60, f"the {moment} of {stage}", longest_pause=0.02)
    if moment == "middle":
        time.sleep(0.3 if stage in ("train", "evaluate") else 0.01)


def kill(victim: str, lookout: subprocess.Popen[bytes], request: pytest.FixtureRequest) -> None:
    if victim == "Postgres":
        server: Postgres = request.getfixturevalue("server")
        kill_postgres(server)
        server.start()
        return
    below = psutil.Process(lookout.pid).children(recursive=True)
    if victim == "look-out":
        lookout.kill()
        assert not psutil.wait_procs(below, timeout=20)[1]
    else:
        builder = [process for process in below if "ml.builder.pipeline" in command_line(process)][1:2]
        for process in builder:  # right below its leash; none when it had just ended
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(("victim", "stage", "moment"), cases())
def test_the_end_is_the_same_whoever_is_killed_whenever(
    victim: str, stage: str, moment: str, killable: Appliance, request: pytest.FixtureRequest
) -> None:
    files, counter = counting(killable, seconds=0.6)
    files["main.py"] = files["main.py"].replace("return {'SMAPE'", "time.sleep(0.6); return {'SMAPE'")
    with watch() as first:
        commit = killable.merge(files)
        killable.notify()
        wait_for(killable, stage, moment)
        kill(victim, first, request)
        if victim != "look-out":
            wait_until(lambda: ended(killable, commit), 120, "the release ends")
    if victim == "look-out":
        with watch():
            wait_until(lambda: ended(killable, commit), 120, "the release ends")

    release = killable.release(commit)
    assert (release.status, killable.wanted()) == (Status.DEPLOYED, release.id)
    with killable.sessions.begin() as session:
        assert session.scalar(select(func.count()).select_from(Deployment)) == 1
    if STAGES.index(stage) > STAGES.index("train"):
        assert trainings(counter) == 1
