"""A builder whose Postgres vanishes just when a stage, or the whole build, is to be recorded: it waits.

Two of these run in `make test`, all of them in `make soak`.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection
from sqlalchemy import func, select, text

from cli.up.postgres import Postgres
from db.models import Deployment, Stage
from db.states import StageOutcome, Status
from tests.harness import impatient
from tests.harness.faults import frozen
from tests.harness.processes import tree
from tests.harness.waiting import wait_until
from tests.ml.conftest import Appliance
from tests.ml.controller.test_crash import counting, ended, trainings

ROOT = Path(__file__).parents[3]
STAGES = ["checkout", "environment", "data", "train", "evaluate", "gate", "deploy"]
ALWAYS = [("stopped", "train"), ("frozen", "settling")]
WAITS, RETURNED = "waits for Postgres, which is unavailable", "Postgres responds again"
LOCK = 4711
HOLD = """
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock({lock}); RETURN NEW; END $$;
    CREATE TRIGGER hold BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION hold()
"""
HELD = f"SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = {LOCK}"


def cases() -> list[object]:
    """Both ways to vanish in every stage, and while the release is settled."""
    return [
        pytest.param(*case, id="-".join(case), marks=[] if case in ALWAYS else [pytest.mark.soak])
        for case in product(("stopped", "frozen"), [*STAGES, "settling"])
    ]


@contextmanager
def watch(output: Path) -> Iterator[None]:
    """The controller and its builders with short time limits on Postgres; `output` gets their lines."""
    path = os.pathsep.join([str(Path(impatient.__file__).parent), str(ROOT)])
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ml.controller"], stderr=file, env=os.environ | {"PYTHONPATH": path}
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def hold(appliance: Appliance, moment: str) -> connection:
    """Return a connection that lets a builder wait at a moment, in the statement that records it."""
    table, condition = "stages", f"NEW.name = '{moment}' AND NEW.outcome <> 'running'"
    if moment == "settling":
        table, condition = "releases", "NEW.status = 'deployed'"
    with appliance.sessions.begin() as session:
        session.execute(text(HOLD.format(lock=LOCK, table=table, condition=condition)))
    holder = psycopg2.connect(os.environ["DATABASE_URL"])
    holder.cursor().execute(f"SELECT pg_advisory_lock({LOCK})")
    return holder


@contextmanager
def away(server: Postgres, how: str) -> Iterator[None]:
    if how == "stopped":
        server.stop()
        try:
            yield
        finally:
            server.start()
    else:
        postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
        with frozen(tree(postmaster)):
            yield


def is_held(appliance: Appliance) -> bool:
    with appliance.sessions.begin() as session:
        return bool(session.scalar(text(HELD)))


@pytest.mark.parametrize(("how", "moment"), cases())
def test_a_builder_waits_for_postgres_and_goes_on(
    how: str, moment: str, on_server: Appliance, server: Postgres, tmp_path: Path
) -> None:
    files, counter = counting(on_server)
    output = tmp_path / "output"
    with watch(output):
        holder = hold(on_server, moment)
        commit = on_server.merge(files)
        on_server.notify()
        wait_until(lambda: is_held(on_server), 60, f"{moment} is to be recorded")
        with away(server, how):
            wait_until(lambda: WAITS in output.read_text(), 60, "the builder waits")
            holder.close()
        wait_until(lambda: ended(on_server, commit), 120, "the release ends")

    release = on_server.release(commit)
    assert (release.status, release.attempts, on_server.wanted()) == (Status.DEPLOYED, 1, release.id)
    with on_server.sessions.begin() as session:
        stages = list(session.scalars(select(Stage).order_by(Stage.id)))
        assert session.scalar(select(func.count()).select_from(Deployment)) == 1
    assert [stage.name for stage in stages] == STAGES
    assert {stage.outcome for stage in stages} <= {StageOutcome.DONE, StageOutcome.REUSED}
    assert trainings(counter) == 1
    lines = output.read_text()
    assert (lines.count(WAITS), lines.count(RETURNED)) == (1, 1)
