"""A real Postgres for all tests, and a migrated database of its own for each test that needs one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import psycopg2
import pytest
from loguru import logger
from sqlalchemy import make_url
from sqlalchemy.orm import Session, sessionmaker

from cli.up.postgres import Postgres
from db import migrate, roles
from db import session as db_session

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB"}
NUMBERS = count(1)


def execute(server: Postgres, statement: str) -> None:
    connection = psycopg2.connect(server.database_url())
    try:
        connection.autocommit = True  # CREATE and DROP DATABASE allow no transaction
        connection.cursor().execute(statement)
    finally:
        connection.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Start one server for the whole run; it ends with pytest, however that ends."""
    home: Path = tmp_path_factory.mktemp("postgres")
    server = Postgres(home, settings=FAST).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the URLs of the services' roles: see `url_of`."""
    made: Path = tmp_path_factory.mktemp("credentials")
    return made


@pytest.fixture(scope="session")
def template_database(postgres: Postgres, credentials: Path) -> str:
    """Return the name of a migrated, empty database: copying it takes a fraction of migrating again."""
    execute(postgres, "CREATE DATABASE migrated")
    migrate.upgrade_schema(postgres.database_url("migrated"))
    roles.make_roles(postgres.database_url("migrated"), credentials)
    return "migrated"


@contextmanager
def copy_database(server: Postgres, template: str) -> Iterator[str]:
    """Give the URL of a migrated, empty database that is there until the block ends."""
    name = f"test_{next(NUMBERS)}"
    # the other strategy writes every page to the log as well, for twice the CPU time
    execute(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield server.database_url(name)
    execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def url_as(service: str, database_url: str, credentials: Path) -> str:
    """Return the URL of a copied database as a service's role, as in the template."""
    role = make_url((credentials / service / roles.URL_FILE).read_text())
    return role.set(database=make_url(database_url).database).render_as_string(hide_password=False)


@pytest.fixture
def database_url(postgres: Postgres, template_database: str) -> Iterator[str]:
    """Return the URL of a migrated, empty database for this test alone."""
    with copy_database(postgres, template_database) as url:
        yield url


@pytest.fixture
def url_of(database_url: str, credentials: Path) -> Callable[[str], str]:
    """Return a function for the URL of this test's database as a service's role."""
    return partial(url_as, database_url=database_url, credentials=credentials)


@pytest.fixture
def sessions(database_url: str) -> Iterator[sessionmaker[Session]]:
    made = db_session.create_sessionmaker(database_url)
    yield made
    made.kw["bind"].dispose()


@pytest.fixture
def sessions_of(url_of: Callable[[str], str]) -> Iterator[Callable[[str], sessionmaker[Session]]]:
    """Return a function for sessions as a service's role; `sessions` are a test's own, which may do all."""
    made: list[sessionmaker[Session]] = []

    def make(service: str) -> sessionmaker[Session]:
        made.append(db_session.create_sessionmaker(url_of(service)))
        return made[-1]

    yield make
    for each in made:
        each.kw["bind"].dispose()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Collect the logged lines."""
    found: list[str] = []
    sink = logger.add(found.append, format="{message}")
    yield found
    logger.remove(sink)


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line at once, and into the report of a test that fails."""

    def print_line(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")
        sys.stdout.write(f"{text}\n")

    return print_line
