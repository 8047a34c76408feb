"""The days of the request log: made ahead, dropped whole by age and by bytes, the oldest first."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from db import request_log, request_partitions
from db.session import create_sessionmaker
from ml.controller.request_log import maintain_partitions
from ml.record_section import RecordSection
from ml.serving.request_log.log import RequestLog
from ml.serving.workers.responses import Label
from tests.harness.recorded import KEY, make_row, read_rows

GIB = 1 << 30


def today() -> date:
    return datetime.now(UTC).date()


def days(sessions: sessionmaker[Session]) -> list[int]:
    """The days that have a partition, counted from today."""
    with sessions.begin() as session:
        return [(one.day - today()).days for one in request_partitions.list_partitions(session)]


def fill(sessions: sessionmaker[Session], age: int, rows: int = 1) -> None:
    """Record rows so many days ago."""
    with sessions.begin() as session:
        session.execute(select(func.create_request_partition(today() - timedelta(days=age))))
        at = datetime.now(UTC) - timedelta(days=age)
        made = [make_row("m", "x" * 1000, at=at, row=number) for number in range(rows)]
        request_log.record_batch(session, made)


def test_days_are_made_ahead(sessions: sessionmaker[Session], url_of: Callable[[str], str]) -> None:
    watch = create_sessionmaker(url_of("watch"))
    for _ in range(2):
        maintain_partitions(watch, 30, GIB)
        assert days(sessions) == [-1, 0, 1, 2, 3]
    watch.kw["bind"].dispose()


def test_a_partition_that_an_owner_adds_is_left_alone(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        session.execute(text("CREATE TABLE requests_other PARTITION OF requests DEFAULT"))
    maintain_partitions(sessions, 3, 0)

    assert days(sessions) == [-1, 0, 1, 2, 3]


def test_days_beyond_the_bound_are_dropped_whole(
    sessions: sessionmaker[Session], url_of: Callable[[str], str]
) -> None:
    for age in (0, 1, 2, 3, 9):
        fill(sessions, age)
    watch = create_sessionmaker(url_of("watch"))
    maintain_partitions(watch, 3, GIB)
    watch.kw["bind"].dispose()

    assert days(sessions) == [-2, -1, 0, 1, 2, 3]
    assert [(today() - row.at.date()).days for row in read_rows(sessions)] == [2, 1, 0]


def test_the_oldest_days_are_dropped_for_bytes(sessions: sessionmaker[Session]) -> None:
    for age in (2, 1, 0):
        fill(sessions, age, rows=300)
    with sessions.begin() as session:
        sizes = [one.size for one in request_partitions.list_partitions(session)]
    maintain_partitions(sessions, 30, sum(sizes[1:]) + 1000)
    assert days(sessions) == [-1, 0, 1, 2, 3]

    maintain_partitions(sessions, 30, sizes[2] + 1000 + 8 * 40_960)
    assert {(today() - row.at.date()).days for row in read_rows(sessions)} == {0}


def test_a_day_that_is_too_large_alone_begins_again(sessions: sessionmaker[Session]) -> None:
    fill(sessions, 0, rows=300)
    maintain_partitions(sessions, 30, 100_000)
    assert read_rows(sessions) == []
    assert 0 in days(sessions)


def test_a_day_that_is_read_is_dropped_later(sessions: sessionmaker[Session]) -> None:
    fill(sessions, 9)
    with sessions.begin() as session:
        session.execute(text("LOCK TABLE requests IN ACCESS SHARE MODE"))
        dropping = threading.Thread(target=maintain_partitions, args=(sessions, 3, GIB))
        dropping.start()
        dropping.join(60)
        assert not dropping.is_alive()
    assert -9 in days(sessions)
    maintain_partitions(sessions, 3, GIB)
    assert -9 not in days(sessions)


def test_serve_makes_a_day_that_the_controller_has_not(
    sessions: sessionmaker[Session], url_of: Callable[[str], str]
) -> None:
    serve = create_sessionmaker(url_of("serve"))

    async def record() -> RequestLog:
        log = RequestLog(serve, KEY)
        call = log.begin("m", RecordSection(), "predict", b"c")
        log.add(call, Label("m", 1, "c"), [b"1"], [b"2"])
        await log.flush()
        return log

    log = asyncio.run(record())
    serve.kw["bind"].dispose()

    assert log.counts["m", "recorded"] == 1
    assert [row.features for row in read_rows(sessions)] == [1]


def test_distinct_whole_requests_are_listed_newest_first(sessions: sessionmaker[Session]) -> None:
    fill(sessions, 0)
    rows = [
        make_row("m", {"n": number % 3}, at=datetime.now(UTC) - timedelta(minutes=number))
        for number in range(9)
    ]
    rows[0] |= {"is_whole": False, "is_reduced": True}
    rows[1] |= {"error": "ValueError"}
    with sessions.begin() as session:
        request_log.record_batch(session, rows)
        found = request_log.list_distinct_features(session, "m", 3)
        assert found == ["x" * 1000, {"n": 2}, {"n": 0}]
        assert request_log.list_distinct_features(session, "other", 3) == []
        assert request_log.count_reduced(session, "m", 200) == 1
