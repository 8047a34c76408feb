"""The monitor's page with ten million recorded rows and with a hundred thousand: the ratio, whole scans."""

import os
import tempfile
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.query_plans import Query, compared
from cli.up.postgres import Postgres
from db import databases, migrate, monitor_metrics
from db.session import create_sessionmaker, to_driver_url
from ml.serving.counters import RequestStats
from ml.serving.registry import ServedModel
from ml.serving.telemetry.traffic import TrafficRecorder
from ml.settings import ModelConfig
from ml.web.pages.monitor import View, read_monitor
from ml.web.pages.monitor_charts import build_charts

MODEL, ROWS = "model", 10_000_000
SMALL_ROWS = 100_000
FILL = Path(__file__).with_suffix(".sql")


def main() -> bool:
    """Return True when the page takes at most three times as long, and reads no large table as a whole."""
    settings = {"fsync": "off", "synchronous_commit": "off", "max_wal_size": "2GB"}
    rows = int(os.environ.get("ROWS", ROWS))
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        server = Postgres(Path(folder) / "postgres", settings=settings).start()
        try:
            small, large = (fill(server, f"rows_{count}", count) for count in (SMALL_ROWS, rows))
            fine = [compared(name, query, small, large) for name, query in list_queries(large).items()]
            return all(fine)
        finally:
            server.stop()


def fill(server: Postgres, name: str, rows: int) -> sessionmaker[Session]:
    """Return a database of one model that was monitored for a month, with so many recorded rows."""
    databases.create(server.database_url(), name)
    migrate.upgrade_schema(server.database_url(name))
    engine = create_engine(to_driver_url(server.database_url(name)), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in FILL.read_text().format(rows=rows).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()
    return create_sessionmaker(server.database_url(name))


def list_queries(sessions: sessionmaker[Session]) -> dict[str, Query]:
    served = ServedModel(ModelConfig(MODEL, f"acme/{MODEL}", "", "main"))
    recorder = TrafficRecorder(RequestStats(), sessions)

    def read_page(hours: str) -> Query:
        return lambda session: build_charts(read_monitor(session, served, View(hours, "week"), recorder), {})

    return {
        **{f"page: monitor, {hours} hours": read_page(hours) for hours in ("1", "24", "720")},
        "metrics: monitor": lambda session: monitor_metrics.summarize(session, [MODEL]),
    }
