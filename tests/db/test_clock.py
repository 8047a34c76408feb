"""Postgres's clock is set: what waits goes on as if it had not been."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from db import claims, mlflow_state, release_queue
from db.claims import Retry
from db.models import Release
from db.states import Trigger

Sessions = sessionmaker[Session]


def queued(sessions: Sessions, ahead: timedelta) -> int:
    """A release that is due so long after now."""
    with sessions.begin() as session:
        release = Release(model="m", repository="a/m", commit="1", trigger=Trigger.MERGE)
        session.add(release)
        session.flush()
        session.execute(update(Release).values(due_at=func.now() + ahead))
        return release.id


@pytest.mark.parametrize(("minutes", "is_due"), [(-1, True), (10, False), (60, True)])
def test_a_release_waits_no_longer_than_the_longest_pause(
    sessions: Sessions, minutes: int, is_due: bool
) -> None:
    release = queued(sessions, timedelta(minutes=minutes))
    with sessions.begin() as session:
        found = release_queue.find_due(session, "m")
        assert (found.id if found else None) == (release if is_due else None)
        assert (release_queue.seconds_until_due(session) is None) is is_due


def test_a_pause_is_as_long_as_postgres_counts(sessions: Sessions) -> None:
    release = queued(sessions, timedelta())
    with sessions.begin() as session:
        claim = claims.claim(session, release)
        assert claim is not None
        claims.settle(session, claim, Retry("away", timedelta(minutes=4)))
        assert session.scalar(select(Release.due_at - func.now())) == timedelta(minutes=4)


def test_mlflow_is_told_after_a_pause_as_postgres_counts(sessions: Sessions) -> None:
    release = queued(sessions, timedelta())
    with sessions.begin() as session:
        row = mlflow_state.ensure_run(session, release)
        mlflow_state.defer_sync(session, session.get_one(Release, release), "it refused")
        session.refresh(row)
        assert session.scalar(select(func.now())) == row.due_at - timedelta(seconds=15)  # type: ignore[operator]
