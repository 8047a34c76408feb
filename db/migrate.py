"""Brings the database to the newest schema: `python -m db.migrate`, once, before anything else starts."""

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from loguru import logger
from pydantic import Field
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from common import log
from common.settings import Settings
from db.session import driver_url

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_145_001  # two migrations at once: the second waits, then finds nothing to do


class MigrateSettings(Settings):
    database_url: str
    log: str = Field("text", validation_alias="SLIPWAY_LOG", pattern="^(text|json)$")


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`; safe to call at any time, from several processes."""
    engine = create_engine(driver_url(url))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def wait_for(url: str, seconds: float = 60) -> None:
    """Until Postgres takes connections; `SystemExit` with one clear line when it does not."""
    engine = create_engine(driver_url(url), connect_args={"connect_timeout": 5})
    end = time.monotonic() + seconds
    while True:
        try:
            engine.connect().close()
        except OperationalError as error:
            if time.monotonic() > end:
                where = driver_url(url).render_as_string(hide_password=True)
                cause = str(error.orig).strip().splitlines()[0]
                raise SystemExit(f"the database {where} does not answer: {cause}") from error
            time.sleep(0.3)
        else:
            engine.dispose()
            return


def main() -> None:
    settings = MigrateSettings()
    log.configure("migrate", "json" if settings.log == "json" else "text")
    wait_for(settings.database_url)
    upgrade(settings.database_url)
    logger.info("the database is at the newest schema")


if __name__ == "__main__":
    main()
