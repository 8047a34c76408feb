"""Draws of recorded requests: each row as likely as any other, within bounds, and by the index."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session, sessionmaker

from db import request_partitions, request_samples
from db.request_samples import Period
from db.session import read_time
from tests.harness.recorded import record

Sessions = sessionmaker[Session]
# rows before `now`: of each second of a busy hour 20, else one in a minute
FILL = text("""
    INSERT INTO requests (id, "row", at, model, release_id, route, client_id, features, answer, error,
        milliseconds, is_whole, is_reduced)
    SELECT gen_random_uuid(), 0, CAST(:now AS timestamptz) - at, :model, 1, 'predict', 'c', '{"a": 1}', '1',
        CASE WHEN number % 10 = 0 THEN 'ValueError' END, 1, true, false
    FROM (
        SELECT number, make_interval(secs => 3600 + number * 0.05) AS at
        FROM generate_series(1, :busy) AS number
        UNION ALL
        SELECT number, make_interval(secs => 40000 + number * 60) FROM generate_series(1, 600) AS number
    ) AS times
""")

INSERT = text("""
    INSERT INTO requests
    SELECT CAST(md5(CAST(call AS text)) AS uuid), number,
        CAST(:begin AS timestamptz) + call * interval '1 second',
        'm', 1, 'predict', 'c', '{"a": 2}', '1', NULL, 1, true, false
    FROM generate_series(1, :calls) AS call, generate_series(1, :rows) AS number
""")


def fill(sessions: Sessions, busy: int = 72_000, model: str = "m") -> datetime:
    """Record rows of the last day; return now."""
    with sessions.begin() as session:
        request_partitions.create_missing(session)
        now = read_time(session)
        session.execute(FILL, {"now": now, "model": model, "busy": busy})
    with sessions.kw["bind"].connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE requests"))
    return now


@pytest.fixture
def plans(sessions: Sessions) -> Iterator[list[str]]:
    """Collect the plan of each query of the log."""
    found: list[str] = []

    def explain(connection: Any, _: Any, statement: str, parameters: Any, *__: Any) -> None:
        if "FROM requests" in statement and not statement.startswith("EXPLAIN"):
            rows = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF) {statement}", parameters)
            found.append("\n".join(row[0] for row in rows))

    engine = sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", explain)
    yield found
    event.remove(engine, "before_cursor_execute", explain)


def test_each_row_of_a_day_is_drawn_as_often(sessions: Sessions) -> None:
    """Rows of the busy hour are 99 of 100, and so are those that are drawn."""
    now = fill(sessions)
    drawn = Counter[bool]()
    with sessions.begin() as session:
        for seed in range(40):
            period = Period("m", now - timedelta(days=1), now)
            for key in request_samples.draw_period(session, period, 2000, seed):
                drawn[now - key.at < timedelta(seconds=10_000)] += 1
    share = drawn[False] / drawn.total()
    assert 0.9 * 540 / 65_340 < share < 1.1 * 540 / 65_340
    assert 40 * 1500 < drawn.total() < 40 * 4000


def test_a_small_log_is_read_whole(sessions: Sessions) -> None:
    now = fill(sessions, busy=10)
    with sessions.begin() as session:
        drawn = request_samples.draw_period(session, Period("m", now - timedelta(days=1), now), 10_000, 1)
    assert len({key[:3] for key in drawn}) == len(drawn) == 549


def test_one_call_cannot_fill_the_draw(sessions: Sessions) -> None:
    """It has 30,000 rows of one moment; a page of them is read, and the others are not."""
    now = fill(sessions, busy=2000)
    with sessions.begin() as session:
        session.execute(INSERT, {"begin": now - timedelta(seconds=30), "calls": 1, "rows": 30_000})
    with sessions.begin() as session:
        drawn = request_samples.draw_period(session, Period("m", now - timedelta(days=1), now), 10_000, 1)
        newest = request_samples.list_newest(session, "m", 1000, 50)
    for keys in (drawn, newest):
        of_call = Counter(key.at for key in keys).most_common(2)
        assert of_call[0][1] <= request_samples.PAGE_ROWS
        assert len({key.at for key in keys}) > 500


def test_rows_of_one_call_stay_together(sessions: Sessions) -> None:
    """Pages end within calls of seven rows."""
    with sessions.begin() as session:
        request_partitions.create_missing(session)
        begin = read_time(session) - timedelta(hours=1)
        session.execute(INSERT, {"begin": begin, "calls": 1000, "rows": 7})
    with sessions.begin() as session:
        newest = request_samples.list_newest(session, "m", 100_000, 50)
    assert set(Counter(key.at for key in newest).values()) == {7}
    assert len(newest) == 7000


def test_no_draw_scans_the_log(sessions: Sessions, plans: list[str]) -> None:
    now = fill(sessions)
    fill(sessions, busy=1000, model="other")
    plans.clear()
    with sessions.begin() as session:
        drawn = request_samples.draw_period(session, Period("m", now - timedelta(days=1), now), 10_000, 1)
        newest = request_samples.list_newest(session, "m", 1000, 50)
        request_samples.list_first(session, "m", 1, since=now - timedelta(days=2), rows=1000, most_of_call=50)
        rows = request_samples.read_rows(session, drawn[:5000], 1 << 30)
        assert request_samples.count_present(session, newest) == len(newest)
    assert len(rows) == 5000
    assert len(plans) > 30
    for plan in plans:
        read = [int(found) for found in re.findall(r"Seq Scan on requests\S*.*actual rows=(\d+)", plan)]
        assert sum(read) < 1000, plan


def test_bytes_are_bounded(sessions: Sessions) -> None:
    record(sessions, "m", *({"a": "x" * 10_000} for _ in range(50)))
    with sessions.begin() as session:
        keys = request_samples.list_newest(session, "m", 1000, 50)
        rows = request_samples.read_rows(session, keys, 100_000)
    assert len(keys) == 50
    assert len(rows) == 9
