"""Two controllers, killed now and then, while the clock of Postgres and of all processes is set."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from cli.up.postgres import Postgres
from db import migrate
from db.retraining_models import Retraining
from db.session import create_sessionmaker
from db.states import RetrainingState
from tests.harness.faults import Clock
from tests.harness.processes import command_line
from tests.harness.waiting import wait_until
from tests.ml.builder.test_release import go_live
from tests.ml.conftest import Appliance
from tests.ml.retraining.support import list_all
from tests.models import working

HOUR = 3600
TOML = '[retrain]\nschedule = "0 * * * *"\ncooldown = "1s"\nbudget = 1000\n'


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def on_a_clock(
    clock: Clock,
    tmp_path: Path,
    make_appliance: Callable[..., Appliance],
) -> Iterator[Appliance]:
    """An appliance whose Postgres has a clock that can be set, with a live release."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clock.environment.items():
            patch.setenv(name, value)
        server = Postgres(tmp_path / "own-postgres").start()
    migrate.upgrade_schema(server.database_url())
    appliance = make_appliance(DATABASE_URL=server.database_url(), SLIPWAY_POLL_SECONDS="0.5")
    own: sessionmaker[Session] = create_sessionmaker(server.database_url())
    appliance.sessions = appliance.lookout.sessions = own
    appliance.merge({**working.quick(), "slipway.toml": TOML})
    appliance.settle()
    go_live(appliance)
    yield appliance
    own.kw["bind"].dispose()
    server.stop()


@contextmanager
def controllers(clock: Clock, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Controllers whose clock is set like Postgres's; killed when the block ends."""
    env = {**os.environ, **clock.environment}
    started = [subprocess.Popen([sys.executable, "-m", "ml.controller"], env=env) for _ in range(count)]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def ended(appliance: Appliance, count: int) -> list[Retraining]:
    """Wait until so many retrainings are recorded, and none of them waits."""

    def found() -> list[Retraining]:
        rows = list(list_all(appliance.sessions))
        waits = [row for row in rows if row.state is RetrainingState.WAITING]
        return rows if len(rows) >= count and not waits else []

    return wait_until(found, 90, f"{count} retrainings have ended")


def has_planned(appliance: Appliance, ahead: int) -> None:
    """Wait until a controller has seen the clock where it is now: the plan is of the next hour."""
    is_seen = text("""
        SELECT next_at > clock_timestamp() AND next_at <= clock_timestamp() + interval '1 hour'
            AND abs(extract(epoch FROM clock_timestamp()) - :now) < 1800
        FROM retraining_plans
    """)

    def seen() -> bool:
        with appliance.sessions.begin() as session:
            return bool(session.execute(is_seen, {"now": time.time() + ahead}).scalar())

    wait_until(seen, 60, "a controller has seen the clock")


def test_a_clock_that_is_set_gives_one_retraining_each(on_a_clock: Appliance, clock: Clock) -> None:
    appliance = on_a_clock
    with controllers(clock, 2) as both:
        has_planned(appliance, 0)
        assert list_all(appliance.sessions) == []

        clock.set(HOUR)
        assert len(ended(appliance, 1)) == 1
        clock.set(0)  # an hour back
        has_planned(appliance, 0)
        clock.set(HOUR)  # and the same hour comes again
        has_planned(appliance, HOUR)
        assert len(list_all(appliance.sessions)) == 1

        clock.set(25 * HOUR)  # a day forward: those that were missed are made up for by one
        assert len(ended(appliance, 2)) == 2
        clock.set(24 * HOUR)
        has_planned(appliance, 24 * HOUR)
        assert len(list_all(appliance.sessions)) == 2

        clock.set(26 * HOUR)  # whoever leads is killed at that hour
        busy = wait_until(lambda: [one for one in both if has_children(one)], 60, "it has begun")
        busy[0].send_signal(signal.SIGKILL)
        rows = ended(appliance, 3)

    assert len(rows) == 3
    assert {row.state for row in rows} == {RetrainingState.UNCHANGED}
    assert len({row.occasion for row in rows}) == 3
    assert len(appliance.releases()) == 1


def has_children(process: subprocess.Popen[bytes]) -> bool:
    below = psutil.Process(process.pid).children(recursive=True)
    return any("ml.builder.retrain" in command_line(one) for one in below)
