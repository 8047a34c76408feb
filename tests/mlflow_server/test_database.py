"""MLflow's role and database are made by the appliance's role where it may, and nobody else's are touched."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import psycopg2
import pytest
from sqlalchemy import make_url

from cli.up.postgres import Postgres
from db import mlflow_database as database
from tests.conftest import execute

NUMBERS = count(1)


@pytest.fixture
def name(postgres: Postgres) -> Iterator[str]:
    """Of a role and a database that this test may make."""
    made = f"tracked_{next(NUMBERS)}"
    yield made
    execute(postgres, f"DROP DATABASE IF EXISTS {made} WITH (FORCE)")
    execute(postgres, f"DROP ROLE IF EXISTS {made}")


@pytest.fixture
def role(postgres: Postgres) -> Iterator[str]:
    execute(postgres, "CREATE ROLE appliance LOGIN PASSWORD 'appliance'")
    yield (
        make_url(postgres.database_url())
        .set(username="appliance", password="appliance")
        .render_as_string(False)
    )
    execute(postgres, "DROP OWNED BY appliance")
    execute(postgres, "DROP ROLE appliance")


def signs_in(appliance: str, name: str, password: str) -> bool:
    return database.can_sign_in(database.database_url(appliance, name, password))


def test_making_them_may_be_repeated_and_replaces_lost_passwords(postgres: Postgres, name: str) -> None:
    for password in ("first", "first", "second"):
        database.ensure_database(postgres.database_url(), name, password)
        assert signs_in(postgres.database_url(), name, password)
    assert not signs_in(postgres.database_url(), name, "first")


def test_of_two_that_make_them_at_once_neither_fails(postgres: Postgres, name: str) -> None:
    with ThreadPoolExecutor(4) as starts:
        made = [
            starts.submit(database.ensure_database, postgres.database_url(), name, "made") for _ in range(4)
        ]
    assert [each.result() for each in made] == [None] * 4


def test_a_role_that_is_somebody_elses_keeps_its_password(postgres: Postgres, name: str) -> None:
    execute(postgres, f"CREATE ROLE {name} LOGIN PASSWORD 'theirs'")
    with pytest.raises(database.MlflowDatabaseError, match="another name with MLFLOW_DATABASE"):
        database.ensure_database(postgres.database_url(), name, "ours")
    execute(postgres, f"CREATE DATABASE {name}")
    assert signs_in(postgres.database_url(), name, "theirs")


def test_a_database_that_is_somebody_elses_is_left_alone(postgres: Postgres, name: str) -> None:
    execute(postgres, f"CREATE DATABASE {name}")
    with pytest.raises(database.MlflowDatabaseError, match="that is postgres's: give"):
        database.ensure_database(postgres.database_url(), name, "ours")


def test_a_role_whose_note_is_lost_is_taken_when_its_owner_says(postgres: Postgres, name: str) -> None:
    database.ensure_database(postgres.database_url(), name, "before")
    execute(postgres, f"COMMENT ON ROLE {name} IS NULL")
    with pytest.raises(database.MlflowDatabaseError, match="a restored dump has lost the note") as told:
        database.ensure_database(postgres.database_url(), name, "after")
    assert signs_in(postgres.database_url(), name, "before")

    execute(postgres, str(told.value).partition("run ")[2])
    database.ensure_database(postgres.database_url(), name, "after")

    assert signs_in(postgres.database_url(), name, "after")


def test_a_role_that_may_make_roles_and_databases_is_enough(postgres: Postgres, role: str, name: str) -> None:
    with pytest.raises(
        database.MlflowDatabaseError, match="ALTER ROLE appliance CREATEROLE CREATEDB, or name a server"
    ):
        database.ensure_database(role, name, "made")
    execute(postgres, "ALTER ROLE appliance CREATEROLE")
    with pytest.raises(database.MlflowDatabaseError, match="CREATEDB"):
        database.ensure_database(role, name, "made")
    execute(postgres, "ALTER ROLE appliance CREATEDB")
    database.ensure_database(role, name, "made")
    assert signs_in(role, name, "made")


def test_nobody_else_enters_its_database(postgres: Postgres, role: str, name: str) -> None:
    database.ensure_database(postgres.database_url(), name, "made")
    entered = make_url(role).set(database=name).render_as_string(False)
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        psycopg2.connect(entered)
