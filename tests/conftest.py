"""A real Postgres for all tests, and a migrated database of its own for each test that asks."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg2
import pytest
from loguru import logger
from sqlalchemy import make_url
from sqlalchemy.orm import Session, sessionmaker

from cli.postgres import Postgres
from db import migrate, roles
from db import session as db_session

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB"}
NUMBERS = count(1)


def execute(server: Postgres, statement: str) -> None:
    connection = psycopg2.connect(server.url())
    try:
        connection.autocommit = True  # CREATE and DROP DATABASE allow no transaction
        connection.cursor().execute(statement)
    finally:
        connection.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One server for the whole run; it ends with pytest, however that ends."""
    home: Path = tmp_path_factory.mktemp("postgres")
    server = Postgres(home, settings=FAST).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the addresses of the services' roles are written: see `url_of`."""
    made: Path = tmp_path_factory.mktemp("credentials")
    return made


@pytest.fixture(scope="session")
def template_database(postgres: Postgres, credentials: Path) -> str:
    """The name of a migrated, empty database: copying it takes a fraction of migrating anew."""
    execute(postgres, "CREATE DATABASE migrated")
    migrate.upgrade(postgres.url("migrated"))
    roles.make_roles(postgres.url("migrated"), credentials)
    return "migrated"


@pytest.fixture
def database_url(postgres: Postgres, template_database: str) -> Iterator[str]:
    """The address of a migrated, empty database that is this test's alone."""
    name = f"test_{next(NUMBERS)}"
    execute(postgres, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    yield postgres.url(name)
    execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def url_of(database_url: str, credentials: Path) -> Callable[[str], str]:
    """The address of this test's database as the role of a service, which has the rights of the template."""

    def find(service: str) -> str:
        role = make_url((credentials / service / roles.FILE).read_text())
        return role.set(database=make_url(database_url).database).render_as_string(hide_password=False)

    return find


@pytest.fixture
def sessions(database_url: str) -> Iterator[sessionmaker[Session]]:
    made = db_session.sessions(database_url)
    yield made
    made.kw["bind"].dispose()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    found: list[str] = []
    sink = logger.add(found.append, format="{message}")
    yield found
    logger.remove(sink)
