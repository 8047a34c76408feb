"""What the gate compares with is of one moment, whatever goes live while it is read."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db import deployments
from db.models import Release
from db.states import Cause
from ml.builder import build
from tests.harness.waiting import wait_until

Sessions = sessionmaker[Session]
WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def go_live(session: Session, commit: str) -> int:
    release = Release(model="m", repository="a/m", commit=commit)
    session.add(release)
    session.flush()
    made = deployments.create_decision(
        session, "m", release.id, Cause.OPERATOR, who="dana", why=None, snapshot=None
    )
    deployments.mark_live(session, made)
    return made.id


def test_what_goes_live_during_the_gate_was_not_compared_with(
    sessions: Sessions,
) -> None:
    with sessions.begin() as session:
        compared = go_live(session, "1")
    with ThreadPoolExecutor(1) as pool, sessions.begin() as session:
        session.execute(text("LOCK TABLE requests"))
        looking = pool.submit(build.read_gate_inputs, sessions, "m", "")

        def waits() -> bool:
            with sessions.begin() as other:
                return other.scalar(WAITING) == 1

        wait_until(waits, 30, "the gate reads what users asked")
        with sessions.begin() as other:
            go_live(other, "2")
        session.commit()
        inputs = looking.result()

    seen = inputs.snapshot
    assert inputs.live is not None
    assert (inputs.live.id, seen.baseline, seen.newest) == (compared, compared, compared)
