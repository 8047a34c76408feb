"""Ground truth in Postgres: early values are bounded in time, days in bytes, erasures find all of it."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from db import ground_truth, request_erasure, request_log, request_partitions
from db.ground_truth_models import GroundTruth
from db.session import create_sessionmaker
from ml.controller.request_log import delete_early, maintain_partitions
from tests.harness.recorded import make_row
from tests.harness.waiting import wait_until

GIB = 1 << 30


@pytest.fixture
def log(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    with sessions.begin() as session:
        request_partitions.create_missing(session)
    return sessions


def truth(row: dict[str, Any], value: Any = 1, **facts: Any) -> dict[str, Any]:
    """The ground truth of a row of the log."""
    return {
        **{name: row[name] for name in ("id", "row", "at", "model")},
        "value": json.dumps(value),
        "source": "system",
        "observed_at": None,
        "is_early": False,
        **facts,
    }


def store(sessions: sessionmaker[Session], *rows: dict[str, Any]) -> dict[tuple[uuid.UUID, int], bool]:
    with sessions.begin() as session:
        ground_truth.prepare(session, "m")
        return ground_truth.store_batch(session, rows)


def record(sessions: sessionmaker[Session], *rows: dict[str, Any]) -> None:
    with sessions.begin() as session:
        request_log.record_batch(session, rows)


def stored(sessions: sessionmaker[Session]) -> Sequence[GroundTruth]:
    with sessions.begin() as session:
        return session.scalars(select(GroundTruth).order_by(GroundTruth.at)).all()


@contextmanager
def as_service(url_of: Callable[[str], str], service: str) -> Iterator[sessionmaker[Session]]:
    factory = create_sessionmaker(url_of(service))
    yield factory
    factory.kw["bind"].dispose()


def age(sessions: sessionmaker[Session], hours: float) -> None:
    """Let so many hours pass for all that is stored."""
    with sessions.begin() as session:
        session.execute(
            text("UPDATE ground_truth SET stored_at = stored_at - :age"), {"age": timedelta(hours=hours)}
        )


def test_an_early_value_is_deleted_after_a_day(
    log: sessionmaker[Session], url_of: Callable[[str], str]
) -> None:
    came, late = make_row("m", 1), make_row("m", 2)
    with as_service(url_of, "serve") as serve, as_service(url_of, "watch") as watch:
        store(serve, truth(came, is_early=True), truth(late, is_early=True))
        record(serve, came)
        age(log, 23.5)
        delete_early(watch)
        assert len(stored(log)) == 2

        age(log, 1)
        delete_early(watch)
        assert [(str(one.id), one.is_early) for one in stored(log)] == [(came["id"], False)]

        age(log, 100)
        delete_early(watch)
        assert len(stored(log)) == 1


def test_many_early_values_are_deleted_in_batches(
    log: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground_truth, "SETTLED_ROWS", 5)
    few = str(ground_truth.DELETE_EARLY).replace("LIMIT 10000", "LIMIT 5")
    monkeypatch.setattr(ground_truth, "DELETE_EARLY", text(few))
    rows = [make_row("m", number) for number in range(15)]
    record(log, *rows[:5])
    store(log, *(truth(row, is_early=True) for row in rows))
    age(log, 25)
    delete_early(log)
    assert len(stored(log)) == 5


def test_bytes_of_ground_truth_count_for_the_bound(log: sessionmaker[Session]) -> None:
    today = datetime.now(UTC)
    with log.begin() as session:
        empty = {one.day: one.size for one in request_partitions.list_partitions(session)}
    row = make_row("m", 1)
    store(log, *({**truth(row, "x" * 1000), "row": number} for number in range(500)))
    with log.begin() as session:
        full = {one.day: one.size for one in request_partitions.list_partitions(session)}
    assert full[today.date()] > empty[today.date()] + 100_000

    maintain_partitions(log, 30, full[today.date()] - 1)

    assert stored(log) == []


def test_a_day_is_dropped_with_its_ground_truth(log: sessionmaker[Session]) -> None:
    at = datetime.now(UTC) - timedelta(days=9)
    with log.begin() as session:
        session.execute(text("SELECT create_request_partition(CAST(:day AS date))"), {"day": at.date()})
    old, new = make_row("m", 1, at=at), make_row("m", 2)
    record(log, old, new)
    store(log, truth(old), truth(new))

    maintain_partitions(log, 3, GIB)

    assert [str(one.id) for one in stored(log)] == [new["id"]]


def test_two_calls_at_once_never_wait_for_each_other(log: sessionmaker[Session]) -> None:
    rows = [make_row("m", number) for number in range(2)]
    record(log, *rows)
    low, high = sorted((truth(row) for row in rows), key=lambda row: row["id"])
    changed: list[int] = []
    other = threading.Thread(target=lambda: changed.append(len(store(log, high, low))))
    with log.begin() as session:
        ground_truth.store_batch(session, [low])
        other.start()
        wait_until(lambda: is_waiting(log, "transactionid"), 10, "the other call waits")
        ground_truth.store_batch(session, [high])
    other.join()
    assert changed == [0]
    assert len(stored(log)) == 2


def test_an_erasure_waits_for_values_that_are_being_stored(log: sessionmaker[Session]) -> None:
    row = make_row("m", 1)
    record(log, row)
    deleted: list[int] = []

    def erase() -> None:
        with log.begin() as session:
            call = uuid.UUID(row["id"])
            deleted.append(request_erasure.delete_by_id(session, "m", [call]).ground_truth)

    erasing = threading.Thread(target=erase)
    with log.begin() as session:
        ground_truth.prepare(session, "m")
        assert ground_truth.find_rows(session, [(uuid.UUID(row["id"]), None)])[0].rows == 1
        erasing.start()
        wait_until(lambda: is_waiting(log, "advisory"), 10, "the erasure waits")
        ground_truth.store_batch(session, [truth(row)])
    erasing.join()
    assert deleted == [1]
    assert stored(log) == []


def is_waiting(sessions: sessionmaker[Session], kind: str) -> bool:
    """Whether somebody waits for a lock of this kind."""
    with sessions.begin() as session:
        query = "SELECT count(*) FROM pg_locks WHERE locktype = :kind AND NOT granted"
        return bool(session.scalar(text(query), {"kind": kind}))


@pytest.mark.parametrize(("count", "ambiguous"), [(1, False), (2, True)])
def test_rows_of_one_call_are_one_call_of_a_client(
    log: sessionmaker[Session], count: int, ambiguous: bool
) -> None:
    rows = [make_row("m", 1, client_id="c") for _ in range(count)]
    record(log, *rows, {**rows[0], "row": 1}, make_row("other", 1, client_id="c"))
    with log.begin() as session:
        [(found, is_ambiguous)] = ground_truth.find_calls(session, "m", ["c", "d"]).values()
    assert str(found) in [row["id"] for row in rows]
    assert is_ambiguous is ambiguous
