"""Ground truth: found by its calls in the request log, written in batches, read with what it replaced."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.ground_truth_models import GroundTruth
from db.request_log import read_id_time

EARLY_TIME = timedelta(days=1)  # that a value waits for its row
MAX_EARLIER = 10  # replaced values of a row that are kept
SETTLED_ROWS = 10_000  # early values that one statement looks at

# Without statistics of a new day the planner may read all of it for one id.
USE_INDEXES = text("SET LOCAL enable_seqscan = off")
# An erasure waits for values whose rows were looked up before it, and then finds them.
LOCK_SHARED = text("SELECT pg_advisory_xact_lock_shared(hashtext('ground_truth'), hashtext(:model))")
LOCK = text("SELECT pg_advisory_xact_lock(hashtext('ground_truth'), hashtext(:model))")

# One call at most is read for each id, and another one to see that there are two.
FIND_CALLS = text("""
    SELECT given.client_id, one.id, other.id IS NOT NULL AS is_ambiguous
    FROM unnest(CAST(:client_id AS text[])) AS given (client_id)
    CROSS JOIN LATERAL (
        SELECT r.id FROM requests r WHERE r.model = :model AND r.client_id = given.client_id LIMIT 1
    ) one
    LEFT JOIN LATERAL (
        SELECT r.id FROM requests r
        WHERE r.model = :model AND r.client_id = given.client_id AND r.id <> one.id LIMIT 1
    ) other ON true
""")

# `rows` is 0, 1, or 2 for several; `label_type` is the JSON type of an answer that is a single plain value
FIND_ROWS = text("""
    SELECT call.rows, row_found."row", row_found.kind, row_found.label_type
    FROM unnest(CAST(:id AS uuid[]), CAST(:at AS timestamptz[]), CAST(:row AS integer[]))
        WITH ORDINALITY AS given (id, at, "row", number)
    CROSS JOIN LATERAL (
        SELECT count(*) AS rows, min(found."row") AS "row" FROM (
            SELECT r."row" FROM requests r WHERE r.id = given.id AND r.at = given.at LIMIT 2
        ) found
    ) call
    LEFT JOIN LATERAL (
        SELECT r."row", (SELECT kind FROM releases WHERE releases.id = r.release_id) AS kind,
            CASE jsonb_typeof(r.answer)
                WHEN 'array' THEN
                    CASE jsonb_array_length(r.answer) WHEN 1 THEN jsonb_typeof(r.answer -> 0) END
                ELSE jsonb_typeof(r.answer)
            END AS label_type
        FROM requests r
        WHERE r.id = given.id AND r.at = given.at AND r."row" = coalesce(given."row", call."row") LIMIT 1
    ) row_found ON true
    ORDER BY given.number
""")

STORE_VALUES = text(f"""
    INSERT INTO ground_truth AS known (id, "row", at, model, value, source, observed_at, is_early)
    SELECT * FROM unnest(
        CAST(:id AS uuid[]), CAST(:row AS integer[]), CAST(:at AS timestamptz[]), CAST(:model AS text[]),
        CAST(:value AS jsonb[]), CAST(:source AS text[]), CAST(:observed_at AS timestamptz[]),
        CAST(:is_early AS boolean[])
    )
    ON CONFLICT (id, "row", at) DO UPDATE SET
        value = excluded.value, source = excluded.source, observed_at = excluded.observed_at,
        stored_at = now(), is_early = excluded.is_early,
        earlier = (
            jsonb_build_array(jsonb_build_object(
                'value', known.value, 'source', known.source,
                'observed_at', known.observed_at, 'stored_at', known.stored_at
            )) || known.earlier
        ) - {MAX_EARLIER}
    WHERE (known.value, known.source, known.observed_at)
        IS DISTINCT FROM (excluded.value, excluded.source, excluded.observed_at)
    RETURNING known.id, known."row", known.earlier <> '[]' AS is_replaced
""")  # noqa: S608 (a number)

# rows of a batch that Postgres chooses: what is left is for the next one
DELETE_EARLY = text(f"""
    WITH due AS (
        SELECT id, "row", at FROM ground_truth
        WHERE is_early AND stored_at < now() - CAST(:age AS interval)
        ORDER BY stored_at LIMIT {SETTLED_ROWS}
    ), settled AS (
        UPDATE ground_truth known SET is_early = false FROM due
        WHERE (known.id, known."row", known.at) = (due.id, due."row", due.at)
        AND EXISTS (
            SELECT FROM requests r WHERE (r.id, r."row", r.at) = (due.id, due."row", due.at)
        )
        RETURNING known.id, known."row"
    ), deleted AS (
        DELETE FROM ground_truth known USING due
        WHERE (known.id, known."row", known.at) = (due.id, due."row", due.at)
        AND NOT EXISTS (
            SELECT FROM requests r WHERE (r.id, r."row", r.at) = (due.id, due."row", due.at)
        )
        RETURNING known.id
    )
    SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM settled), (SELECT count(*) FROM deleted)
""")  # noqa: S608 (a number)


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row in the request log: its answer, and the number of rows of its call, up to two."""

    rows: int
    row: int | None  # None: the call has none, or not this one
    kind: str | None
    label_type: str | None


def prepare(session: Session, model: str) -> None:
    """Look rows up by indexes until the transaction ends, and let no erasure come between."""
    session.execute(USE_INDEXES)
    session.execute(LOCK_SHARED, {"model": model})


def wait_for_stores(session: Session, model: str) -> None:
    """Let no value of a model be stored until the transaction ends."""
    session.execute(LOCK, {"model": model})


def find_calls(session: Session, model: str, client_ids: Sequence[str]) -> dict[str, tuple[uuid.UUID, bool]]:
    """Return the call of each client's id that a model has, and whether another one has it, too."""
    if not client_ids:
        return {}
    rows = session.execute(FIND_CALLS, {"model": model, "client_id": list(client_ids)})
    return {row.client_id: (row.id, row.is_ambiguous) for row in rows}


def find_rows(session: Session, calls: Sequence[tuple[uuid.UUID, int | None]]) -> list[FoundRow]:
    """Return what the log has of rows, in their order; a row None is that of a call with a single one."""
    if not calls:
        return []
    ids = [id_ for id_, _ in calls]
    given = {"id": list(map(str, ids)), "at": list(map(read_id_time, ids)), "row": [row for _, row in calls]}
    return [FoundRow(*row) for row in session.execute(FIND_ROWS, given)]


def store_batch(session: Session, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[uuid.UUID, int], bool]:
    """Store values by one statement, with JSON as text; each row is given once.

    Returns those that were not stored before with this value, and whether they replaced another one.
    """
    if not rows:
        return {}
    ordered = sorted(rows, key=lambda row: (row["id"], row["row"]))  # two calls never wait for each other
    changed = session.execute(STORE_VALUES, {name: [row[name] for row in ordered] for name in ordered[0]})
    return {(row.id, row.row): row.is_replaced for row in changed}


def settle_early(session: Session) -> tuple[int, int]:
    """Delete early values whose row has not come in a day; return how many were due, and deleted.

    At most `SETTLED_ROWS` are looked at: call it again where so many were due.
    """
    session.execute(USE_INDEXES)
    due, _, deleted = session.execute(DELETE_EARLY, {"age": EARLY_TIME}).one()
    return due, deleted


def list_values(session: Session, model: str, call: uuid.UUID) -> Sequence[GroundTruth]:
    """Return the values of a call's rows."""
    return session.scalars(
        select(GroundTruth)
        .where(GroundTruth.id == call, GroundTruth.at == read_id_time(call), GroundTruth.model == model)
        .order_by(GroundTruth.row)
    ).all()
