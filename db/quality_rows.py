"""Recorded answers with their ground truth: counted, and drawn within bounds however large the log is."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db.ground_truth_models import GroundTruth
from db.models import Deployment, Release
from db.recorded_rows import TRUSTED_SOURCES, LabelledRow
from db.request_log_models import RecordedRequest

MAX_ROWS = 50_000  # that are drawn of a window
MAX_FEATURE_BYTES = 16 << 10  # of one row, as it is stored
MAX_FEATURE_ROWS = 2000  # that the repository's own code is run on
MAX_SEARCHED_ROWS = 200_000  # of more rows, slices of the window are read
MAX_BYTES = 48 << 20  # of answers and values together
MAX_ROW_BYTES = 1 << 20  # a larger one is left out
CELLS = 1000  # equal parts of a window, of each of which an equally long slice is read
MAX_RELEASES = 4
FETCHED_ROWS = 1000

# Statistics of a new day are missing, and the planner would read all of it.
USE_INDEXES = text("SET LOCAL enable_seqscan = off")
PERIODS = "unnest(CAST(:begins AS timestamptz[]), CAST(:ends AS timestamptz[])) AS period (begins, ends)"
# JSON becomes text after the limit: until then large values are not even read. Calls are drawn whole, but
# for the last.
DRAW_ROWS = f"""
    WITH drawn AS MATERIALIZED (
        SELECT r.*, truth.value, truth.observed_at, count(*) OVER (PARTITION BY r.release_id) AS labelled
        FROM {PERIODS}
        CROSS JOIN LATERAL (
            SELECT g.id, g."row", g.at, g.value, g.observed_at FROM ground_truth g
            WHERE g.model = :model AND g.at >= period.begins AND g.at < period.ends
                AND g.at >= :begin AND g.at < :end AND g.source = ANY(CAST(:sources AS text[]))
            OFFSET 0
        ) AS truth
        CROSS JOIN LATERAL (
            SELECT r.release_id, r.id, r."row", r.at, r.features, r.answer, r.is_whole FROM requests r
            WHERE r.id = truth.id AND r."row" = truth."row" AND r.at = truth.at
                AND r.at >= :begin AND r.at < :end AND r.model = :model
                AND r.error IS NULL AND r.answer IS NOT NULL
                AND r.release_id = ANY(CAST(:releases AS integer[]))
            OFFSET 0
        ) AS r
        ORDER BY hashtextextended(CAST(r.id AS text), :seed), r."row"
        LIMIT :rows
    )
"""  # noqa: S608 (a constant)
READ_ANSWERS = text(f"""
    {DRAW_ROWS} SELECT release_id, id, CAST(answer AS text) AS answer, CAST(value AS text) AS value,
        observed_at, labelled
    FROM drawn
""")  # noqa: S608 (the same)
READ_FEATURES = text(f"""
    {DRAW_ROWS} SELECT at, id, "row", features, value FROM drawn
    WHERE is_whole AND jsonb_typeof(features) = 'object' AND pg_column_size(features) <= :size
""")  # noqa: S608 (the same)
COUNT_ANSWERED = text(f"""
    SELECT found.release_id, count(*) AS rows
    FROM {PERIODS}
    CROSS JOIN LATERAL (
        SELECT r.release_id FROM requests r
        WHERE r.model = :model AND r.at >= period.begins AND r.at < period.ends
            AND r.at >= :begin AND r.at < :end AND r.error IS NULL
            AND r.release_id = ANY(CAST(:releases AS integer[]))
    ) AS found
    GROUP BY found.release_id
""")  # noqa: S608 (a constant)


@dataclass(frozen=True)
class ServedRelease:
    """A release that was live, as far as its quality needs it."""

    id: int
    kind: str
    metrics: dict[str, float]  # at its gate


@dataclass(frozen=True)
class LabelledAnswer:
    """A recorded answer and its true value, both JSON texts; `observed_at` is when that became true."""

    release: int
    call: str
    answer: str
    value: str
    observed_at: datetime | None


@dataclass(frozen=True)
class QualityPeriod:
    """A period of a model's rows, begin included, end not."""

    model: str
    name: str  # day, week or month
    begin: datetime
    end: datetime


@dataclass(frozen=True)
class LabelledRows:
    """Rows that were drawn, each with the same probability; the numbers are of all, by release.

    They are estimates where a window has very many rows.
    """

    rows: list[LabelledAnswer]
    labelled: dict[int, int]
    answered: dict[int, int]


def list_served(session: Session, model: str, live: int) -> list[ServedRelease]:
    """Return the live release, and those that were live before it, the last one first."""
    newest = (
        select(Deployment.release_id)
        .where(Deployment.model == model, Deployment.live_at.is_not(None))
        .order_by(Deployment.id.desc())
        .limit(5 * MAX_RELEASES)  # a release may be live several times
    )
    numbers = list(dict.fromkeys([live, *session.scalars(newest)]))[:MAX_RELEASES]
    columns = select(Release.id, Release.kind, Release.metrics).where(Release.id.in_(numbers))
    found = {
        row.id: ServedRelease(row.id, row.kind or "generic", row.metrics or {})
        for row in session.execute(columns)
    }
    return [found[number] for number in numbers]


def draw_rows(session: Session, window: QualityPeriod, releases: Sequence[int], seed: int) -> LabelledRows:
    """Return at most `MAX_ROWS` rows of these releases that have ground truth."""
    session.execute(USE_INDEXES)
    draw = random.Random(seed)  # noqa: S311 (a draw, no secret)
    parts = count_parts(count_rows(session, GroundTruth, window))
    drawn = to_parameters(window, releases) | draw_periods(window, parts, draw)
    rows, labelled = read_bounded(session, drawn | {"seed": seed, "rows": MAX_ROWS})
    answered_parts = count_parts(count_rows(session, RecordedRequest, window))
    searched = to_parameters(window, releases) | draw_periods(window, answered_parts, draw)
    counts = session.execute(COUNT_ANSWERED, searched)
    return LabelledRows(
        rows,
        {release: number * parts for release, number in labelled.items()},
        {row.release_id: row.rows * answered_parts for row in counts},
    )


def draw_features(session: Session, window: QualityPeriod, release: int, seed: int) -> list[LabelledRow]:
    """Return at most `MAX_FEATURE_ROWS` of the same rows that are whole, the oldest first."""
    session.execute(USE_INDEXES)
    draw = random.Random(seed)  # noqa: S311 (the same)
    parts = count_parts(count_rows(session, GroundTruth, window))
    drawn = to_parameters(window, [release]) | draw_periods(window, parts, draw)
    rows = session.execute(
        READ_FEATURES, drawn | {"seed": seed, "rows": MAX_FEATURE_ROWS, "size": MAX_FEATURE_BYTES}
    )
    found = [LabelledRow(row.at, row.id, row.row, row.features, row.value) for row in rows]
    return sorted(found, key=lambda row: (row.at, row.id, row.row))


def to_parameters(window: QualityPeriod, releases: Sequence[int]) -> dict[str, Any]:
    return {
        **{"model": window.model, "begin": window.begin, "end": window.end},
        **{"releases": list(releases), "sources": list(TRUSTED_SOURCES)},
    }


def count_rows(session: Session, table: type[GroundTruth | RecordedRequest], window: QualityPeriod) -> int:
    """Return how many rows of a model a window has, from the index alone."""
    of_window = (table.model == window.model) & (table.at >= window.begin) & (table.at < window.end)
    return session.scalar(select(func.count()).select_from(table).where(of_window)) or 0


def count_parts(rows: int) -> int:
    """Return into how many slices each cell of a window is cut, of which one is read."""
    return max(1, -(-rows // MAX_SEARCHED_ROWS))


def draw_periods(window: QualityPeriod, parts: int, draw: random.Random) -> dict[str, Any]:
    """Return the whole window, or one slice of each of its cells: any row is in it as probably as another."""
    if parts == 1:
        return {"begins": [window.begin], "ends": [window.end]}
    width = (window.end - window.begin) / (CELLS * parts)
    begins = [window.begin + (number * parts + draw.randrange(parts)) * width for number in range(CELLS)]
    return {"begins": begins, "ends": [begin + width for begin in begins]}


def read_bounded(session: Session, parameters: dict[str, Any]) -> tuple[list[LabelledAnswer], dict[int, int]]:
    """Return rows in random order, until they have too many bytes, and how many there are by release."""
    found: list[LabelledAnswer] = []
    labelled: dict[int, int] = {}
    size = 0
    rows = session.execute(READ_ANSWERS, parameters, execution_options={"yield_per": FETCHED_ROWS})
    for row in rows:
        labelled[row.release_id] = row.labelled
        row_size = len(row.answer.encode()) + len(row.value.encode())
        size += row_size if row_size <= MAX_ROW_BYTES else 0
        if size > MAX_BYTES:
            break
        if row_size <= MAX_ROW_BYTES:
            found.append(LabelledAnswer(row.release_id, str(row.id), row.answer, row.value, row.observed_at))
    rows.close()
    return found, labelled
