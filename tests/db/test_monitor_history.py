"""What the page reads of the monitor's past: one window a step, by indexes, whatever there is between."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from benchmarks import monitor_page, query_plans
from cli.up.postgres import Postgres
from db import monitor_history
from db.models import Deployment, Release
from db.monitor_history import MAX_ANSWERS, MAX_RELEASES, LivePeriod, ShownPeriod
from db.states import Cause, DeploymentState
from tests.harness.monitored import add_drift, add_quality, record_answers

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = ShownPeriod(NOW - timedelta(days=1), NOW, steps=24)
MODEL = "m"


@pytest.fixture
def release(sessions: sessionmaker[Session]) -> Callable[[], int]:
    def make() -> int:
        with sessions.begin() as session:
            made = Release(model=MODEL, repository="a/m", commit=uuid.uuid4().hex)
            session.add(made)
            session.flush()
            return made.id

    return make


def test_each_step_has_its_newest_window(sessions: sessionmaker[Session], release: Callable[[], int]) -> None:
    number = release()
    for minutes in (-1, 0, 10, 50, 59, 60, 61, 200, 24 * 60 - 1, 24 * 60, 30 * 60):
        made_at = NOW - timedelta(minutes=minutes)
        add_drift(sessions, MODEL, number, made_at=made_at, rows=max(0, minutes))
        add_drift(sessions, MODEL, number, made_at=made_at, window="newest")
        add_drift(sessions, "other", number, made_at=made_at)
    with sessions.begin() as session:
        found = monitor_history.list_drift(session, MODEL, "day", DAY)

    assert [point.rows for point in found] == [24 * 60 - 1, 200, 61, 10]


def test_a_step_has_a_window_of_each_release(
    sessions: sessionmaker[Session], release: Callable[[], int]
) -> None:
    first, second = release(), release()
    for number, minutes in ((first, 30), (first, 20), (second, 20), (second, 90)):
        made_at = NOW - timedelta(minutes=minutes)
        add_quality(sessions, MODEL, number, {}, made_at=made_at, rows=minutes)
    for _ in range(3 * MAX_RELEASES):
        add_quality(sessions, MODEL, second, {}, made_at=NOW - timedelta(hours=5))
    with sessions.begin() as session:
        found = monitor_history.list_quality(session, MODEL, "week", DAY)
        newest = monitor_history.list_newest_quality(session, MODEL)

    assert len(found) == 4
    assert {(one.release_id, one.rows) for one in found[-2:]} == {(first, 20), (second, 20)}
    assert [one.release_id for one in newest] == [second, first]


def deploy(sessions: sessionmaker[Session], number: int, live_at: datetime | None) -> None:
    state = DeploymentState.LIVE if live_at else DeploymentState.FAILED
    with sessions.begin() as session:
        facts: dict[str, Any] = {"cause": Cause.OPERATOR, "who": "ada", "state": state, "live_at": live_at}
        session.add(Deployment(model=MODEL, release_id=number, **facts))


def test_the_release_before_is_the_last_other_one(
    sessions: sessionmaker[Session], release: Callable[[], int]
) -> None:
    first, second, third = release(), release(), release()
    hours = [NOW - timedelta(hours=hour) for hour in range(10)]
    with sessions.begin() as session:
        assert monitor_history.find_live_periods(session, MODEL) == []
    for number, live_at in (
        (third, hours[9]),
        (first, hours[8]),
        (first, hours[7]),  # once more: its workers were started again
        (third, None),
        (second, hours[3]),
        (second, hours[2]),
    ):
        deploy(sessions, number, live_at)
    with sessions.begin() as session:
        found = monitor_history.find_live_periods(session, MODEL)

    assert found == [LivePeriod(second, hours[3], None), LivePeriod(first, hours[8], hours[3])]


def test_answers_are_those_of_the_release_and_no_large_ones(sessions: sessionmaker[Session]) -> None:
    now = datetime.now(UTC)
    ago = now - timedelta(minutes=10)
    record_answers(sessions, MODEL, 1, ago, [1] * 700)
    record_answers(sessions, MODEL, 2, ago + timedelta(seconds=2), [2, "x" * 20_000, None, "x" * 9_000])
    record_answers(sessions, "other", 2, ago, [3])
    period = LivePeriod(2, now - timedelta(hours=1), None)
    with sessions.begin() as session:
        second = monitor_history.list_answers(session, MODEL, period, now)
        first = monitor_history.list_answers(session, MODEL, LivePeriod(1, period.start, now), now)
        early = monitor_history.list_answers(
            session, MODEL, LivePeriod(1, period.start, ago - timedelta(seconds=1)), now
        )

    assert second == ["x" * 9_000, 2]
    assert first == [1] * MAX_ANSWERS
    assert early == []


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Iterator[sessionmaker[Session]]:
    made = monitor_page.fill(postgres, "monitor_page", 200_000)
    yield made
    made.kw["bind"].dispose()


@pytest.mark.parametrize("hours", ["1", "24", "720"])
def test_the_page_reads_no_table_as_a_whole(filled: sessionmaker[Session], hours: str) -> None:
    page = monitor_page.list_queries(filled)[f"page: monitor, {hours} hours"]
    assert query_plans.scans(page, filled) == []
    used = query_plans.find_indexes(page, filled)
    assert {"ix_drift_windows_made_at", "ix_quality_windows_made_at"} <= used
    assert any("model_at" in name for name in used)


def test_metrics_read_no_table_as_a_whole(filled: sessionmaker[Session]) -> None:
    assert query_plans.scans(monitor_page.list_queries(filled)["metrics: monitor"], filled) == []
