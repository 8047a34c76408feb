"""At most so many rows a second; a call is recorded whole."""

import asyncio
from typing import cast

from sqlalchemy.orm import Session, sessionmaker

from ml.record_section import RecordSection
from ml.serving.request_log.log import RequestLog
from ml.serving.request_log.writer import MAX_QUEUED_ROWS
from ml.serving.workers.responses import Label
from tests.harness.recorded import KEY, read_rows

LABEL = Label("m", 1, "c" * 40)
ALL = RecordSection()


def add(log: RequestLog, rows: int = 1, model: str = "m", rules: RecordSection = ALL) -> None:
    call = log.begin(model, rules, "predict", b"c")
    log.add(call, LABEL, [b"1"] * rows, [b"2"] * rows)


def test_a_busy_model_leaves_room_for_a_quiet_one(sessions: sessionmaker[Session]) -> None:
    async def record() -> RequestLog:
        log = RequestLog(sessions, KEY, rows_per_second=20)
        for _ in range(2000):
            add(log, model="busy")
        add(log, model="quiet")
        await log.flush()
        return log

    log = asyncio.run(record())

    models = [row.model for row in read_rows(sessions)]
    assert models.count("quiet") == 1
    assert 20 <= models.count("busy") < 2000
    assert log.counts["busy", "recorded"] + log.counts["busy", "over_rate"] == 2000
    assert log.counts["busy", "recorded"] == models.count("busy")


def test_a_call_is_recorded_with_all_its_rows_or_with_none(sessions: sessionmaker[Session]) -> None:
    async def record() -> RequestLog:
        log = RequestLog(sessions, KEY, rows_per_second=20)
        for _ in range(20):
            add(log, rows=30)
        for _ in range(400):
            add(log, rows=3, model="half", rules=RecordSection(sample=0.02))
        await log.flush()
        return log

    log = asyncio.run(record())

    rows = read_rows(sessions)
    by_call: dict[tuple[str, object], list[int]] = {}
    for row in rows:
        by_call.setdefault((row.model, row.id), []).append(row.row)
    assert {tuple(numbers) for (model, _), numbers in by_call.items() if model == "m"} == {tuple(range(30))}
    assert {tuple(numbers) for (model, _), numbers in by_call.items() if model == "half"} <= {(0, 1, 2)}
    assert log.counts["half", "not_sampled"] % 3 == 0
    assert log.counts["half", "not_sampled"] > 1000


def test_what_has_no_room_in_the_queue_is_counted(sessions: sessionmaker[Session]) -> None:
    log = RequestLog(sessions, KEY, rows_per_second=1e9)
    for _ in range(MAX_QUEUED_ROWS + 7):
        add(log)
    assert (log.counts["m", "dropped"], log.counts["m", "recorded"]) == (7, 0)


def test_large_rows_fill_the_queue_earlier(sessions: sessionmaker[Session]) -> None:
    log = RequestLog(sessions, KEY, rows_per_second=1e9)
    body = b'"' + b"x" * (1 << 20) + b'"'
    for _ in range(20):
        log.add(log.begin("m", ALL, "predict", b"c"), LABEL, [body], [b"2"])
    assert log.counts["m", "dropped"] >= 4


def test_a_log_that_is_off_makes_no_id_and_no_thread() -> None:
    log = RequestLog(cast("sessionmaker[Session]", None), key=None)
    add(log, rows=1000)
    asyncio.run(log.run())
    assert log.begin("m", ALL, "predict", b"c") is None
    assert log.counts == {}
    on = RequestLog(cast("sessionmaker[Session]", None), KEY)
    assert on.begin("m", RecordSection(enabled=False), "predict", b"c") is None
