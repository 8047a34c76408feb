"""A value is erased from many rows with short statements."""

from datetime import UTC, datetime, time, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from db import request_erasure, request_log
from tests.harness.recorded import make_row, read_rows

NOON = datetime.combine(datetime.now(UTC).date() - timedelta(days=1), time(12), UTC)


@pytest.fixture
def recorded(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Seven rows of yesterday, three of which are of one call, and one of another model."""
    with sessions.begin() as session:
        session.execute(select(func.create_request_partition(NOON.date())))
        rows = [make_row("m", {"x": 1}, at=NOON + timedelta(seconds=number)) for number in range(5)]
        rows += [{**rows[2], "row": number} for number in (1, 2)]
        request_log.record_batch(session, [*rows, make_row("other", {"x": 1}, at=NOON)])
    return sessions


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
def test_a_value_is_erased_from_few_rows_at_a_time(recorded: sessionmaker[Session], rows: int) -> None:
    begin, end = NOON, NOON + timedelta(hours=12)
    found = []
    with recorded.begin() as session:
        while begin < end:
            until = request_erasure.find_period_end(session, "m", begin, end, rows)
            erased = request_erasure.delete_by_value(session, "m", "x", [1], begin=begin, end=until)
            found.append(len(erased.requests))
            begin = until

    assert sum(found) == 7
    assert max(found) <= rows + 2  # the rows of one call have one time
    assert [row.model for row in read_rows(recorded)] == ["other"]
