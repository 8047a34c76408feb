"""A Postgres that may be killed, and appliances on databases of their own there."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cli.up.postgres import Postgres
from db import migrate
from db.session import create_sessionmaker as make_sessions
from tests.conftest import execute
from tests.ml.conftest import Appliance

NUMBERS = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    made = Postgres(tmp_path_factory.mktemp("server")).start()
    yield made
    made.stop()


@pytest.fixture
def on_server(server: Postgres, make_appliance: Callable[..., Appliance]) -> Iterator[Appliance]:
    """An appliance whose Postgres may be killed."""
    name = f"killed_{next(NUMBERS)}"
    execute(server, f"CREATE DATABASE {name}")
    migrate.upgrade_schema(server.database_url(name))
    made = make_appliance(DATABASE_URL=server.database_url(name))
    own: sessionmaker[Session] = make_sessions(server.database_url(name))
    made.sessions = made.lookout.sessions = own
    yield made
    own.kw["bind"].dispose()
