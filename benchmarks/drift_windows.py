"""What the monitor reads of a model's log of a million rows in a day, against a hundred thousand."""

import os
import tempfile
from datetime import timedelta
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.query_plans import Query, compared
from cli.up.postgres import Postgres
from db import databases, migrate, monitor_due, request_samples
from db.request_samples import Period
from db.retraining_plans import LiveModel
from db.session import create_sessionmaker, read_time, to_driver_url

FEW, MANY = 100_000, 1_000_000
DAY = timedelta(days=1)
NEWEST_ROWS, DAY_ROWS, MOST_OF_CALL, MAX_BYTES = 1000, 5000, 50, 24 << 20
PARTITIONS = (
    "SELECT create_request_partition((now() AT TIME ZONE 'UTC')::date - i) FROM generate_series(-1, 1) AS i"
)
FILL = """
    INSERT INTO requests
    SELECT gen_random_uuid(), 0, now() - i * interval '1 day' / {rows}, 'm', 1, 'predict', 'c',
        jsonb_build_object('age', i %% 90, 'plan', 'free', 'income', random(), 'text', repeat('x', 60)),
        '0.5', NULL, 1.5, true, false
    FROM generate_series(1, {rows}) AS i
"""


def main() -> bool:
    """Return True when no window takes more than three times as long, or reads the whole of a partition."""
    many = int(os.environ.get("ROWS", MANY))
    settings = {"fsync": "off", "synchronous_commit": "off", "max_wal_size": "2GB"}
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        server = Postgres(Path(folder) / "postgres", settings=settings).start()
        try:
            small, large = filled(server, "few", FEW), filled(server, "many", many)
            fine = [compared(name, query, small, large) for name, query in QUERIES.items()]
            return all(fine)
        finally:
            server.stop()


def filled(server: Postgres, name: str, rows: int) -> sessionmaker[Session]:
    databases.create(server.database_url(), name)
    migrate.upgrade_schema(server.database_url(name))
    engine = create_engine(to_driver_url(server.database_url(name)), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(PARTITIONS)
        connection.exec_driver_sql(FILL.format(rows=rows))
        connection.execute(text("VACUUM ANALYZE requests"))
    engine.dispose()
    return create_sessionmaker(server.database_url(name))


def read_newest(session: Session) -> None:
    keys = request_samples.list_newest(session, "m", NEWEST_ROWS, MOST_OF_CALL)
    request_samples.read_rows(session, keys[:NEWEST_ROWS], MAX_BYTES)


def read_day(session: Session) -> None:
    now = read_time(session)
    keys = request_samples.draw_period(session, Period("m", now - DAY, now), 2 * DAY_ROWS, 1)
    request_samples.read_rows(session, keys[:DAY_ROWS], MAX_BYTES)


def read_first(session: Session) -> None:
    since = read_time(session) - DAY
    request_samples.list_first(session, "m", 1, since=since, rows=NEWEST_ROWS, most_of_call=MOST_OF_CALL)


def list_due(session: Session) -> None:
    monitor_due.list_due(session, {"m": LiveModel("m", 1, "c", None, None)}, timedelta(seconds=900))


QUERIES: dict[str, Query] = {
    "the newest rows": read_newest,
    "rows of the newest day": read_day,
    "the first rows": read_first,
    "what is due": list_due,
}
