"""Which recorded rows a release is trained on, and which newer ones it is judged by."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from common.errors import RejectedError
from db import recorded_rows
from db.recorded_rows import LabelledPeriod
from db.session import read_time
from ml.manifest import DataSection
from ml.recorded_address import is_recorded, parse_recorded

TEST_SHARE = 0.2  # of the rows, the newest
MIN_ROWS, MIN_TEST_ROWS = 100, 20
MAX_ROWS = 1_000_000  # of a data set: the newest


@dataclass(frozen=True)
class Split:
    """The periods of both data sets, None where one is not made of recorded rows; read at this time."""

    train: LabelledPeriod | None
    test: LabelledPeriod | None
    read_at: datetime


def make_split(session: Session, model: str, section: DataSection, warm_start: int | None) -> Split:
    """Return the periods by Postgres's clock; raises `RejectedError` where there are too few rows.

    No row of the test data is older than one that the release is trained on, nor than one that what is live,
    or what either began from, was trained on.
    """
    now = read_time(session)
    train, test = (
        LabelledPeriod(model, now - timedelta(days=parse_recorded(address).days), now)
        if address is not None and is_recorded(address)
        else None
        for address in (section.find_address("train"), section.find_address("test"))
    )
    if test is not None:
        newest = recorded_rows.find_trained_until(session, model, warm_start)
        test = find_test_period(session, test, newest)
    if train is not None:
        train = limit_rows(
            session, LabelledPeriod(model, train.begin, test.begin if test else now), MIN_ROWS // 2
        )
    return Split(train, limit_rows(session, test, MIN_TEST_ROWS) if test else None, now)


def find_test_period(
    session: Session, whole: LabelledPeriod, newest_trained: datetime | None
) -> LabelledPeriod:
    """Return the end of a period that a release can be judged by.

    Rows of one call have one time: they are not divided.
    """
    count = recorded_rows.count_rows(session, whole)
    if count < MIN_ROWS:
        raise to_few_error(count, whole, MIN_ROWS)
    begin = recorded_rows.find_row_time(session, whole, int(count * (1 - TEST_SHARE)))
    begin = max(begin or whole.end, whole.begin)
    if newest_trained is not None and newest_trained >= begin:
        begin = newest_trained + timedelta(microseconds=1)
    test = LabelledPeriod(whole.model, min(begin, whole.end), whole.end)
    if (left := recorded_rows.count_rows(session, test)) < MIN_TEST_ROWS:
        raise RejectedError(
            f"slipway://recorded: {left} rows with ground truth are newer than what the live release was "
            f"trained on, and {MIN_TEST_ROWS} are needed to be judged by: train again when there are more"
        )
    return test


def limit_rows(session: Session, period: LabelledPeriod, least: int) -> LabelledPeriod:
    """Return the end of a period that has at most `MAX_ROWS` rows."""
    count = recorded_rows.count_rows(session, period)
    if count < least:
        raise to_few_error(count, period, least)
    if count <= MAX_ROWS:
        return period
    begin = recorded_rows.find_row_time(session, period, count - MAX_ROWS)
    return LabelledPeriod(period.model, begin or period.begin, period.end)


def to_few_error(count: int, period: LabelledPeriod, least: int) -> RejectedError:
    return RejectedError(
        f"slipway://recorded: {count} rows since {period.begin:%Y-%m-%d} have ground truth, and {least} are "
        "needed: send more, or name more days"
    )
