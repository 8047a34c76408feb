"""Recorded requests with ground truth as the data of their own model, and the releases trained on them."""

import uuid
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, cast, column, func, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session, aliased, sessionmaker

from db import deployments
from db.ground_truth_models import GroundTruth
from db.models import Release
from db.request_log_models import RecordedRequest
from db.states import Status

TRUSTED_SOURCES = ("person", "system")  # a model's own predictions are no truth to learn from
PAGE_ROWS = 500  # of one statement, each of at most 64 KiB

Key = tuple[datetime, uuid.UUID, int]


@dataclass(frozen=True)
class LabelledRow:
    """A recorded row with the value that its prediction should have had."""

    at: datetime
    id: uuid.UUID
    row: int
    features: Any
    value: Any


@dataclass(frozen=True)
class LabelledPeriod:
    """The rows of one model with `begin` <= time < `end`."""

    model: str
    begin: datetime
    end: datetime


def is_labelled(period: LabelledPeriod) -> ColumnElement[bool]:
    """Return the condition of rows that are whole, were answered, and have ground truth from outside."""
    requests, truth = RecordedRequest, GroundTruth
    is_in = (requests.model == period.model) & (requests.at >= period.begin) & (requests.at < period.end)
    # the time once more: Postgres does not conclude from a join which partitions have no match
    is_true_in = (truth.model == period.model) & (truth.at >= period.begin) & (truth.at < period.end)
    is_same = (truth.id == requests.id) & (truth.row == requests.row) & (truth.at == requests.at)
    return is_in & is_true_in & is_same & is_usable() & truth.source.in_(TRUSTED_SOURCES)


def is_usable() -> ColumnElement[bool]:
    """Return the condition of rows that were answered, and are exactly what was sent."""
    requests = RecordedRequest
    return requests.is_whole & requests.error.is_(None) & requests.features.is_not(None)


def count_rows(session: Session, period: LabelledPeriod) -> int:
    return session.scalar(select(func.count()).where(is_labelled(period))) or 0


def find_row_time(session: Session, period: LabelledPeriod, number: int) -> datetime | None:
    """Return the time of the row with this number, from 0, in the order of time."""
    times = select(RecordedRequest.at).where(is_labelled(period)).order_by(RecordedRequest.at)
    return session.scalar(times.offset(number).limit(1))


def count_new(session: Session, period: LabelledPeriod, since: datetime, limit: int) -> int:
    """Return how many rows have ground truth that was stored after `since`, at most `limit`."""
    new = select(RecordedRequest.row).where(is_labelled(period), GroundTruth.stored_at > since).limit(limit)
    return session.scalar(select(func.count()).select_from(new.subquery())) or 0


def read_rows(sessions: sessionmaker[Session], period: LabelledPeriod) -> Iterator[LabelledRow]:
    """Yield a period's rows in the order of time, id and number; each page is a transaction of its own.

    A transaction over all of it would stop the days of the log from being dropped.
    """
    last: Key | None = None
    while True:
        with sessions.begin() as session:
            page = session.execute(select_truth(period, last)).all()
            found = find_features(session, period.model, [row[:3] for row in page]) if page else {}
        for at, id_, row, value in page:
            if (id_, row) in found:
                yield LabelledRow(at, id_, row, found[id_, row], value)
        if len(page) < PAGE_ROWS:
            return
        last = page[-1][:3]


def select_truth(period: LabelledPeriod, last: Key | None) -> Select[Any]:
    """Return a page of ground truth. Its rows are read apart: joined, Postgres reads all for each page."""
    truth = GroundTruth
    key = (truth.at, truth.id, truth.row)
    is_in = (truth.model == period.model) & (truth.at >= period.begin) & (truth.at < period.end)
    page = select(*key, truth.value).where(is_in, truth.source.in_(TRUSTED_SOURCES))
    if last is not None:
        page = page.where(truth.at >= last[0], tuple_(*key) > last)
    return page.order_by(*key).limit(PAGE_ROWS)


def find_features(session: Session, model: str, keys: Sequence[Key]) -> dict[tuple[uuid.UUID, int], Any]:
    """Return the features of these rows, in the order of time, as far as they are usable."""
    requests = RecordedRequest
    ids, rows = cast([key[1] for key in keys], ARRAY(UUID)), cast([key[2] for key in keys], ARRAY(Integer))
    names = (column("id", UUID), column("row", Integer))
    wanted = func.unnest(ids, rows).table_valued(*names, name="wanted").render_derived()
    is_wanted = (requests.id == wanted.c.id) & (requests.row == wanted.c.row)
    of_page = (requests.model == model) & requests.at.between(keys[0][0], keys[-1][0]) & is_usable()
    found = session.execute(
        select(requests.id, requests.row, requests.features).join(wanted, is_wanted).where(of_page)
    )
    return {(id_, row): features for id_, row, features in found}


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


def list_releases(session: Session, model: str, scored: Sequence[int] = ()) -> list[int]:
    """Return the releases whose files may have recorded rows: trained on some, or still to be.

    So may those of this model among `scored`.
    """
    train, test = (Release.data[name]["recorded"].astext.is_not(None) for name in ("train", "test"))
    is_open = Release.status.in_((Status.QUEUED, Status.BUILDING))
    may_have = train | test | is_open | Release.id.in_(scored)
    return list(session.scalars(select(Release.id).where(Release.model == model, may_have)))


def _list_periods(session: Session, model: str) -> list[tuple[int, datetime, datetime]]:
    recorded = Release.data["train"]["recorded"]
    begin, end = recorded["begin"].astext, recorded["end"].astext
    rows = session.execute(select(Release.id, begin, end).where(Release.model == model, begin.is_not(None)))
    return [(number, datetime.fromisoformat(one), datetime.fromisoformat(two)) for number, one, two in rows]


def has_any(ordered: Sequence[datetime], begin: datetime, end: datetime) -> bool:
    """Return whether one of these times, in order, is in a period, its ends included."""
    place = bisect_left(ordered, begin)
    return place < len(ordered) and ordered[place] <= end
