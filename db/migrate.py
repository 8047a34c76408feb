"""Migration of the database to the newest schema: `python -m db.migrate`, once, before anything else starts.

With SLIPWAY_CREDENTIALS it creates a role for each service as well, and writes their addresses there.
"""

import time
from pathlib import Path
from typing import cast

import psycopg2
from alembic import command
from alembic.config import Config
from loguru import logger
from psycopg2 import extensions
from pydantic import Field
from sqlalchemy import create_engine, text

from common import log
from common.settings import DatabaseName, Settings
from db import mlflow_database, roles
from db.pooler import NoSessionsError, check_sessions
from db.session import describe_error, to_driver_url

MIGRATIONS = Path(__file__).parent / "migrations"


class MigrateSettings(Settings):
    database_url: str
    log: str = Field("text", validation_alias="SLIPWAY_LOG", pattern="^(text|json)$")
    credentials: Path | None = Field(None, validation_alias="SLIPWAY_CREDENTIALS")
    tracking_uri: str = Field("", validation_alias="MLFLOW_TRACKING_URI")  # own: the appliance's own server
    mlflow_database: DatabaseName = "mlflow"


def upgrade_schema(url: str, revision: str = "head") -> None:
    """Migrate the database at `url` to `revision`; safe to call at any time, from several processes."""
    engine = create_engine(to_driver_url(url))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": roles.LOCK_KEY})
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            if revision == "head":
                with cast("extensions.connection", connection.connection.driver_connection).cursor() as at:
                    roles.grant_rights(at)
    finally:
        engine.dispose()


def wait_for_postgres(url: str, seconds: float = 60) -> None:
    """Wait until Postgres takes connections that keep their session.

    Raises `SystemExit` with one clear line when it does not.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            check_sessions(url)
        except NoSessionsError as error:
            raise SystemExit(str(error)) from error
        except psycopg2.OperationalError as error:
            if time.monotonic() > end:
                where = to_driver_url(url).render_as_string(hide_password=True)
                cause = describe_error(error)
                raise SystemExit(f"the database {where} does not answer: {cause}") from error
            time.sleep(0.3)
        else:
            return


def provide_credentials(settings: MigrateSettings, folder: Path) -> None:
    """Write each service's own address of the database; the given one where Postgres allows no other."""
    try:
        roles.make_roles(settings.database_url, folder)
    except roles.NoRolesError as error:
        logger.warning(
            "every service signs in to Postgres as the one role of DATABASE_URL: {}, and start again", error
        )
        roles.share_role(settings.database_url, folder)
    if settings.tracking_uri == "own":
        mlflow_database.provide_url(settings.database_url, settings.mlflow_database, folder / "mlflow")


def main() -> None:
    settings = MigrateSettings()
    log.configure("migrate", "json" if settings.log == "json" else "text")
    wait_for_postgres(settings.database_url)
    upgrade_schema(settings.database_url)
    logger.info("the database is at the newest schema")
    if settings.credentials:
        provide_credentials(settings, settings.credentials)


if __name__ == "__main__":
    main()
