"""Draws of recorded requests, by their index and within bounds however large the log is.

Keys are drawn first, and then only the chosen rows are read.
"""

import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import Select, Text, cast, func, select, text, tuple_
from sqlalchemy.orm import Session

from db.request_log import MAX_CLOCK_ERROR
from db.request_log_models import RecordedRequest

PAGE_ROWS = 2_000  # keys that are read at once; of a call of more rows the others are left out
MAX_PAGES = 20
CELLS = 500  # equal parts of a period, of each of which an equally long slice is read
COARSER = 16  # the factor between two tries of how long a slice has to be
MIN_COUNTED = 200  # rows by which the number of all is estimated
FETCHED_ROWS = 200  # whole rows that are read at once

# A slice begins somewhere in its cell, so that each row is in one with the same probability.
SLICES = """
    SELECT found.*
    FROM unnest(CAST(:begins AS timestamptz[])) AS slice (begins)
    CROSS JOIN LATERAL (
        SELECT id, "row", at, error IS NULL AND features IS NOT NULL AS is_answered, release_id
        FROM requests
        WHERE model = :model AND at >= slice.begins AND at < slice.begins + :width
            AND at >= :begin AND at < :end
        ORDER BY at
        LIMIT :most
    ) AS found
"""
READ_SLICES = text(f"{SLICES} LIMIT :limit")
COUNT_SLICES = text(f"SELECT count(*) FROM ({SLICES} LIMIT :limit) AS counted")  # noqa: S608 (constants)


class RowKey(NamedTuple):
    """The primary key of a recorded row, and what decides whether it is compared."""

    id: uuid.UUID
    row: int
    at: datetime
    is_answered: bool
    release_id: int


@dataclass(frozen=True)
class SampledRow:
    """A recorded row; features and answer are JSON texts."""

    key: RowKey
    features: str
    answer: str | None


def list_newest(
    session: Session, model: str, rows: int, most_of_call: int, since: datetime | None = None
) -> list[RowKey]:
    """Return keys of the newest answered rows, until there are so many that count.

    Of one call not more than `most_of_call` count, and not more than a page is read.
    """
    found: list[RowKey] = []
    counted = 0
    for page in read_pages(session, model, since):
        found += page
        counted += sum(
            min(most_of_call, sum(1 for _ in call)) for _, call in groupby(page, key=lambda key: key.id)
        )
        if counted >= rows:
            break
    return found


def read_pages(session: Session, model: str, since: datetime | None) -> Iterator[list[RowKey]]:
    """Yield answered rows, newest first; rows of one time are on one page."""
    before: datetime | None = None
    for _ in range(MAX_PAGES):
        page = read_page(session, model, since, before)
        is_last = len(page) < PAGE_ROWS
        if not is_last and page[0].at != page[-1].at:  # the next page begins with the rows of this time
            last = page[-1].at
            page = [key for key in page if key.at > last]
        before = page[-1].at if page else None
        yield [key for key in page if key.is_answered]
        if is_last:
            return


def read_page(session: Session, model: str, since: datetime | None, before: datetime | None) -> list[RowKey]:
    wanted = (RecordedRequest.model == model) & (RecordedRequest.at < func.now() + MAX_CLOCK_ERROR)
    if since is not None:
        wanted &= RecordedRequest.at > since
    if before is not None:
        wanted &= RecordedRequest.at < before
    is_answered = RecordedRequest.error.is_(None) & RecordedRequest.features.is_not(None)
    columns = (RecordedRequest.id, RecordedRequest.row, RecordedRequest.at)
    rows = session.execute(
        select(*columns, is_answered, RecordedRequest.release_id)
        .where(wanted)
        .order_by(RecordedRequest.at.desc())
        .limit(PAGE_ROWS)
    )
    return [RowKey(*row) for row in rows]


def list_first(
    session: Session, model: str, release: int, *, since: datetime, rows: int, most_of_call: int
) -> list[RowKey]:
    """Return keys of the first rows that a release has answered since then, few of each call."""
    found: list[RowKey] = []
    after = since
    for _ in range(MAX_PAGES):
        page = read_first_page(session, model, after)
        mine = [key for key in page if key.is_answered and key.release_id == release]
        for _, call in groupby(mine, key=lambda key: key.id):
            found += list(call)[:most_of_call]
        if len(found) >= rows or len(page) < PAGE_ROWS:
            break
        after = page[-1].at
    return found[:rows]


def read_first_page(session: Session, model: str, after: datetime) -> list[RowKey]:
    is_answered = RecordedRequest.error.is_(None) & RecordedRequest.features.is_not(None)
    columns = (RecordedRequest.id, RecordedRequest.row, RecordedRequest.at)
    rows = session.execute(
        select(*columns, is_answered, RecordedRequest.release_id)
        .where(RecordedRequest.model == model, RecordedRequest.at > after)
        .where(RecordedRequest.at < func.now() + MAX_CLOCK_ERROR)
        .order_by(RecordedRequest.at)
        .limit(PAGE_ROWS)
    )
    return [RowKey(*row) for row in rows]


@dataclass(frozen=True)
class Period:
    """A period of a model's log, from which rows are drawn."""

    model: str
    begin: datetime
    end: datetime

    def make_slices(self, parts: int, draw: random.Random) -> dict[str, object]:
        """Return the parameters of one slice of each cell, which has so many.

        They are in random order, so that a bound on all rows leaves out any of them.
        """
        cell = (self.end - self.begin) / CELLS
        width = cell / parts
        begins = [self.begin + number * cell + draw.randrange(parts) * width for number in range(CELLS)]
        draw.shuffle(begins)
        bounds = {"model": self.model, "begin": self.begin, "end": self.end, "most": PAGE_ROWS}
        return {**bounds, "begins": begins, "width": width, "limit": PAGE_ROWS * MAX_PAGES}


def draw_period(session: Session, period: Period, rows: int, seed: int) -> list[RowKey]:
    """Return keys of about so many answered rows of a period, or more; each with the same probability."""
    draw = random.Random(seed)  # noqa: S311 (a draw, no secret)
    parts = choose_parts(session, period, rows, draw)
    found = session.execute(READ_SLICES, period.make_slices(parts, draw))
    return [key for key in (RowKey(*row) for row in found) if key.is_answered]


def choose_parts(session: Session, period: Period, rows: int, draw: random.Random) -> int:
    """Return into how many slices a cell is cut, so that one of each has about so many rows, or more."""
    parts = COARSER**4
    while parts > 1:
        counted = session.scalar(COUNT_SLICES, period.make_slices(parts, draw)) or 0
        if counted >= MIN_COUNTED:
            return max(1, counted * parts // rows)
        parts //= COARSER
    return 1


def read_rows(session: Session, keys: Sequence[RowKey], max_bytes: int) -> list[SampledRow]:
    """Return the rows of these keys, until they have so many bytes."""
    found: list[SampledRow] = []
    size = 0
    for begin in range(0, len(keys), FETCHED_ROWS):
        some = keys[begin : begin + FETCHED_ROWS]
        by_key = {(key.id, key.row, key.at): key for key in some}
        for row in session.execute(select_rows(some)):
            size += len(row.features) + len(row.answer or "")
            if size > max_bytes:
                return found
            found.append(SampledRow(by_key[row.id, row.row, row.at], row.features, row.answer))
    return found


def select_rows(keys: Sequence[RowKey]) -> Select[uuid.UUID, int, datetime, str, str]:
    of_keys = tuple_(RecordedRequest.id, RecordedRequest.row, RecordedRequest.at)
    columns = (RecordedRequest.id, RecordedRequest.row, RecordedRequest.at)
    return (
        select(
            *columns,
            cast(RecordedRequest.features, Text).label("features"),
            cast(RecordedRequest.answer, Text).label("answer"),
        )
        .where(RecordedRequest.at.in_([key.at for key in keys]))  # lets Postgres leave out other days
        .where(of_keys.in_([key[:3] for key in keys]))
    )


def count_present(session: Session, keys: Sequence[RowKey]) -> int:
    """Return how many of these rows are still recorded."""
    parts = (keys[begin : begin + FETCHED_ROWS] for begin in range(0, len(keys), FETCHED_ROWS))
    counts = (select(func.count()).select_from(select_rows(part).subquery()) for part in parts)
    return sum(session.scalar(count) or 0 for count in counts)
