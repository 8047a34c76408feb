"""Recorded requests with ground truth as the data of their own model, and the releases trained on them."""

import uuid
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.orm import Session, aliased, sessionmaker

from db import deployments
from db.ground_truth_models import GroundTruth
from db.models import Release
from db.request_log_models import RecordedRequest
from db.states import Status

TRUSTED_SOURCES = ("person", "system")  # a model's own predictions are no truth to learn from
PAGE_ROWS = 2000  # of one statement


@dataclass(frozen=True)
class LabelledRow:
    """A recorded row with the value that its prediction should have had."""

    at: datetime
    id: uuid.UUID
    row: int
    features: Any
    value: Any


@dataclass(frozen=True)
class Period:
    """The rows of one model with `begin` <= time < `end`."""

    model: str
    begin: datetime
    end: datetime


def is_labelled(period: Period) -> ColumnElement[bool]:
    """Return the condition of rows that are whole, were answered, and have ground truth from outside."""
    requests, truth = RecordedRequest, GroundTruth
    is_in = (requests.model == period.model) & (requests.at >= period.begin) & (requests.at < period.end)
    # the time once more: Postgres does not conclude from a join which partitions have no match
    is_true_in = (truth.model == period.model) & (truth.at >= period.begin) & (truth.at < period.end)
    is_same = (truth.id == requests.id) & (truth.row == requests.row) & (truth.at == requests.at)
    is_usable = requests.is_whole & requests.error.is_(None) & requests.features.is_not(None)
    return is_in & is_true_in & is_same & is_usable & truth.source.in_(TRUSTED_SOURCES)


def count_rows(session: Session, period: Period) -> int:
    return session.scalar(select(func.count()).where(is_labelled(period))) or 0


def find_row_time(session: Session, period: Period, number: int) -> datetime | None:
    """Return the time of the row with this number, from 0, in the order of time."""
    times = select(RecordedRequest.at).where(is_labelled(period)).order_by(RecordedRequest.at)
    return session.scalar(times.offset(number).limit(1))


def count_new(session: Session, period: Period, since: datetime, limit: int) -> int:
    """Return how many rows have ground truth that was stored after `since`, at most `limit`."""
    new = select(RecordedRequest.row).where(is_labelled(period), GroundTruth.stored_at > since).limit(limit)
    return session.scalar(select(func.count()).select_from(new.subquery())) or 0


def read_rows(sessions: sessionmaker[Session], period: Period) -> Iterator[LabelledRow]:
    """Yield a period's rows in the order of time, id and number; each page is a transaction of its own.

    A transaction over all of it would stop the days of the log from being dropped.
    """
    last: LabelledRow | None = None
    while True:
        with sessions.begin() as session:
            page = [LabelledRow(*row) for row in session.execute(_select_page(period, last))]
        yield from page
        if len(page) < PAGE_ROWS:
            return
        last = page[-1]


def _select_page(period: Period, last: LabelledRow | None) -> Select[Any]:
    columns = (RecordedRequest.at, RecordedRequest.id, RecordedRequest.row)
    page = select(*columns, RecordedRequest.features, GroundTruth.value).order_by(*columns).limit(PAGE_ROWS)
    if last is None:
        return page.where(is_labelled(period))
    rest = Period(period.model, last.at, period.end)
    return page.where(is_labelled(rest), tuple_(*columns) > (last.at, last.id, last.row))


def find_trained_until(session: Session, model: str, warm_start: int | None = None) -> datetime | None:
    """Return the time of the newest row that what is live or wanted was trained on, or the other release.

    What a release began from counts as well: it knows those rows too.
    """
    live = deployments.find_baseline(session, model)
    numbers = [number for number in (live and live.release_id, warm_start) if number is not None]
    begun = select(Release.id, Release.warm_start).where(Release.id.in_(numbers)).cte(recursive=True)
    parent = aliased(Release)
    lineage = begun.union(select(parent.id, parent.warm_start).where(parent.id == begun.c.warm_start))
    ends = select(Release.data["train"]["recorded"]["end"].astext).where(Release.id.in_(select(lineage.c.id)))
    return max((datetime.fromisoformat(end) for end in session.scalars(ends) if end), default=None)


def list_trained(session: Session, model: str, times: Iterable[datetime]) -> list[int]:
    """Return the releases whose training read rows of a period that has one of these times.

    So are those that began from one of them.
    """
    ordered = sorted(set(times))
    found = {number for number, begin, end in _list_periods(session, model) if has_any(ordered, begin, end)}
    begun = select(Release.id).where(Release.id.in_(found)).cte(recursive=True)
    child = aliased(Release)
    lineage = begun.union(select(child.id).where(child.warm_start == begun.c.id))
    return sorted(session.scalars(select(lineage.c.id))) if found else []


def list_releases(session: Session, model: str) -> list[int]:
    """Return the releases whose files may have recorded rows: trained on some, or still to be."""
    train, test = (Release.data[name]["recorded"].astext.is_not(None) for name in ("train", "test"))
    is_open = Release.status.in_((Status.QUEUED, Status.BUILDING))
    return list(session.scalars(select(Release.id).where(Release.model == model, train | test | is_open)))


def _list_periods(session: Session, model: str) -> list[tuple[int, datetime, datetime]]:
    recorded = Release.data["train"]["recorded"]
    begin, end = recorded["begin"].astext, recorded["end"].astext
    rows = session.execute(select(Release.id, begin, end).where(Release.model == model, begin.is_not(None)))
    return [(number, datetime.fromisoformat(one), datetime.fromisoformat(two)) for number, one, two in rows]


def has_any(ordered: Sequence[datetime], begin: datetime, end: datetime) -> bool:
    """Return whether one of these times, in order, is in a period, its ends included."""
    place = bisect_left(ordered, begin)
    return place < len(ordered) and ordered[place] <= end
