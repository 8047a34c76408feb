"""Each service signs in to Postgres as a role of its own, which may do no more than the service needs."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import errors
from sqlalchemy import make_url

from cli.up.postgres import Postgres
from db import migrate, roles
from tests.conftest import execute
from tests.harness.faults import Hole
from tests.harness.waiting import wait_until

SERVICES = sorted(roles.GRANTS)
NUMBERS = count(1)
TABLES = """
    SELECT CASE nspname WHEN 'public' THEN relname ELSE nspname || '.' || relname END
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT relispartition
        AND nspname !~ '^(pg_|information_schema)'
"""
FORBIDDEN = {
    "a program": "COPY (SELECT 'x') TO PROGRAM 'cat'",
    "a program's output": "COPY pg_temp.rows FROM PROGRAM 'echo x'",
    "a file of the server": "COPY (SELECT 'x') TO '/tmp/x'",
    "reading a file": "SELECT pg_read_file('/etc/passwd')",
    "listing a folder": "SELECT pg_ls_dir('/')",
    "a large object of a file": "SELECT lo_import('/etc/passwd')",
    "passwords of roles": "SELECT rolpassword FROM pg_authid",
    "a table of its own": "CREATE TABLE mine (a int)",
    "a table beside Singer's": "CREATE TABLE vcs.mine (a int)",
    "a function": "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a schema": "CREATE SCHEMA mine",
    "a language": "CREATE LANGUAGE mine HANDLER plpgsql_call_handler",
    "a role": "CREATE ROLE mine",
    "a database": "CREATE DATABASE mine",
    "another role's rights": "SET ROLE postgres",
    "rights for itself": "ALTER ROLE CURRENT_USER SUPERUSER",
    "a setting of the server": "ALTER SYSTEM SET log_statement = 'all'",
    "the schema's version": "UPDATE alembic_version SET version_num = '0001'",
    "a column": "ALTER TABLE releases ADD COLUMN mine text",
    "all releases": "TRUNCATE releases CASCADE",
    "a release": "DELETE FROM releases",
    "a day of the request log by itself": "CREATE TABLE requests_x PARTITION OF requests DEFAULT",
    "a partition of a far day": "SELECT create_request_partition('2001-01-01')",
    "recorded requests of all days": "TRUNCATE requests",
}


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """A database that nobody has migrated, and whose roles are this test's."""
    name = f"roles_{next(NUMBERS)}"
    execute(postgres, f"CREATE DATABASE {name}")
    yield postgres.database_url(name)
    execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")
    for service in SERVICES:
        execute(postgres, f"DROP ROLE IF EXISTS {name}_{service}")


@pytest.fixture
def owner(postgres: Postgres, database: str) -> Iterator[str]:
    """The address of `database` as a role that owns it, and is no superuser."""
    execute(postgres, "CREATE ROLE owner LOGIN PASSWORD 'owner'")
    execute(postgres, f"ALTER DATABASE {make_url(database).database} OWNER TO owner")
    url = make_url(database).set(username="owner", password="owner").render_as_string(False)
    migrate.upgrade_schema(url)
    yield url
    for each in (database, postgres.database_url()):
        run(each, "REASSIGN OWNED BY owner TO postgres")
        run(each, "DROP OWNED BY owner")
    execute(postgres, "DROP ROLE owner")


def migrated(url: str, folder: Path, **more: str) -> str:
    """What `python -m db.migrate` logs."""
    told = {"DATABASE_URL": url, "SLIPWAY_CREDENTIALS": str(folder), "PATH": os.environ["PATH"], **more}
    command = [sys.executable, "-m", "db.migrate"]
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=True)
    return done.stderr


def address(folder: Path, service: str) -> str:
    return (folder / service / roles.URL_FILE).read_text()


def user(url: str) -> object:
    return run(url, "SELECT current_user")[0][0]


@pytest.mark.parametrize("service", SERVICES)
def test_every_table_is_granted_or_said_not_to_be(service: str, database_url: str) -> None:
    assert set(roles.GRANTS[service]) == {table for (table,) in run(database_url, TABLES)}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_service_may_have(what: str, service: str, url_of: Callable[[str], str]) -> None:
    url = url_of(service)
    temporary = "pg_temp" in FORBIDDEN[what]
    statement = "CREATE TEMPORARY TABLE rows (a text);" * temporary + FORBIDDEN[what]
    with pytest.raises((errors.InsufficientPrivilege, errors.RaiseException)):
        run(url, statement)


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_is_anything_but_itself(service: str, url_of: Callable[[str], str]) -> None:
    asked = """
        SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
            EXISTS (SELECT 1 FROM pg_auth_members WHERE member = pg_roles.oid)
        FROM pg_roles WHERE rolname = current_user
    """
    assert run(url_of(service), asked) == [(False,) * 6]


@pytest.mark.parametrize("column", ["*", "token", "info", "known", "lock", "data"])
def test_vcs_reads_of_releases_what_its_page_shows(column: str, url_of: Callable[[str], str]) -> None:
    assert run(url_of("vcs"), "SELECT id, repository, commit, status, reason FROM releases") == []
    with pytest.raises(errors.InsufficientPrivilege):
        run(url_of("vcs"), f"SELECT {column} FROM releases")


@pytest.mark.parametrize("table", ["deployments", "requests", "scores", "tracked", "stages"])
def test_vcs_reads_nothing_else_of_models(table: str, url_of: Callable[[str], str]) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        run(url_of("vcs"), f"SELECT * FROM {table}")


@pytest.mark.parametrize("service", ["serve", "watch"])
@pytest.mark.parametrize("table", ["pull_requests", "sync_states", "deliveries"])
def test_only_vcs_reads_what_github_sent(table: str, service: str, url_of: Callable[[str], str]) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        run(url_of(service), f"SELECT * FROM vcs.{table}")


@pytest.mark.parametrize("service", ["serve", "vcs"])
def test_only_the_controller_drops_days_of_requests(service: str, url_of: Callable[[str], str]) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        run(url_of(service), "SELECT drop_request_partition(current_date)")


def test_the_controller_changes_no_recorded_request(url_of: Callable[[str], str]) -> None:
    for statement in ("DELETE FROM requests", "UPDATE requests SET error = 'x'"):
        with pytest.raises(errors.InsufficientPrivilege):
            run(url_of("watch"), statement)


def test_a_database_of_before_gets_roles_at_the_next_start(database: str, tmp_path: Path) -> None:
    migrate.upgrade_schema(database, "0009")
    assert "as the one role" not in migrated(database, tmp_path)

    users = {service: user(address(tmp_path, service)) for service in SERVICES}
    assert users == {s: f"{make_url(database).database}_{s}" for s in SERVICES}
    assert run(address(tmp_path, "serve"), "SELECT * FROM releases") == []
    files = [tmp_path / service / roles.URL_FILE for service in SERVICES]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_password_is_kept_and_a_lost_one_replaced(database: str, tmp_path: Path) -> None:
    migrated(database, tmp_path)
    first = address(tmp_path, "vcs")
    migrated(database, tmp_path)
    assert address(tmp_path, "vcs") == first

    (tmp_path / "vcs" / roles.URL_FILE).unlink()
    migrated(database, tmp_path)
    assert user(address(tmp_path, "vcs")) == user(address(tmp_path, "vcs"))
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        run(first, "SELECT 1")


def test_a_right_too_many_is_taken_back(database: str, tmp_path: Path) -> None:
    migrated(database, tmp_path)
    run(database, f"GRANT ALL ON deployments, releases TO {make_url(database).database}_vcs")
    migrated(database, tmp_path)
    for table in ("deployments", "releases"):
        with pytest.raises(errors.InsufficientPrivilege):
            run(address(tmp_path, "vcs"), f"SELECT * FROM {table}")


def test_of_two_starts_at_once_neither_fails(database: str, tmp_path: Path) -> None:
    migrate.upgrade_schema(database)
    with ThreadPoolExecutor(4) as starts:
        made = [starts.submit(roles.make_roles, database, tmp_path) for _ in range(4)]
    assert [each.result() for each in made] == [None] * 4
    assert user(address(tmp_path, "vcs")) == f"{make_url(database).database}_vcs"


def test_a_start_between_two_steps_of_another_waits(database: str, tmp_path: Path) -> None:
    """The first start is stopped once its roles exist, and before it has written their addresses."""
    migrate.upgrade_schema(database)
    role = f"{make_url(database).database}_serve"
    waiting = (
        f"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = {roles.LOCK_KEY} AND NOT granted"
    )
    command = [sys.executable, "-m", "db.migrate"]
    told = {"DATABASE_URL": database, "SLIPWAY_CREDENTIALS": str(tmp_path), "PATH": os.environ["PATH"]}
    with (
        subprocess.Popen(command, env=told, stderr=subprocess.PIPE, text=True) as first,
        ThreadPoolExecutor(1) as starts,
        closing(psycopg2.connect(database)) as connection,
    ):
        connection.autocommit = True
        at = connection.cursor()
        while not roles.fetch_value(at, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
            assert first.poll() is None
        first.send_signal(signal.SIGSTOP)
        second = starts.submit(roles.make_roles, database, tmp_path)
        try:
            wait_until(lambda: second.done() or run(database, waiting), 60, "the second waits or has ended")
        finally:
            first.send_signal(signal.SIGCONT)
        assert second.result() is None
        assert "WARNING" not in first.communicate()[1]

    assert user(address(tmp_path, "serve")) == role


def test_a_busy_server_does_not_refuse_a_role(
    postgres: Postgres, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "CONNECT_SECONDS", 2)  # the least that libpq takes
    hole = Hole(make_url(postgres.database_url()).port or 5432)
    url = make_url(owner).set(host="127.0.0.1", port=hole.port, query={})
    hole.open.clear()
    opening = threading.Timer(3, hole.open.set)
    opening.start()
    try:
        assert roles.explain_refusal(url) is None
        assert "password" in (roles.explain_refusal(url.set(password="wrong")) or "")
        hole.open.clear()
        monkeypatch.setattr(roles, "SIGN_IN_SECONDS", 0)
        with pytest.raises(psycopg2.OperationalError):
            roles.explain_refusal(url)
    finally:
        opening.join()
        hole.close()


def test_a_role_that_may_make_no_roles_is_everybodys(owner: str, tmp_path: Path) -> None:
    said = migrated(owner, tmp_path)

    assert said.count("WARNING") == 1
    assert "every service signs in to Postgres as the one role of DATABASE_URL" in said
    assert "run ALTER ROLE owner CREATEROLE, and start again" in said
    assert {user(address(tmp_path, service)) for service in SERVICES} == {"owner"}


def test_a_role_that_may_make_roles_is_enough(postgres: Postgres, owner: str, tmp_path: Path) -> None:
    migrated(owner, tmp_path)
    execute(postgres, "ALTER ROLE owner CREATEROLE")

    assert "WARNING" not in migrated(owner, tmp_path)
    assert user(address(tmp_path, "vcs")) == f"{make_url(owner).database}_vcs"
    assert run(address(tmp_path, "vcs"), "SELECT * FROM vcs.pull_requests") == []


def test_a_role_of_somebody_elses_is_left_alone(postgres: Postgres, database: str, tmp_path: Path) -> None:
    theirs = f"{make_url(database).database}_watch"
    execute(postgres, f"CREATE ROLE {theirs} LOGIN PASSWORD 'theirs'")

    assert f"has a role {theirs} that was not made for this appliance" in migrated(database, tmp_path)
    assert user(address(tmp_path, "watch")) == "postgres"
    assert run(make_url(database).set(username=theirs, password="theirs").render_as_string(False), "SELECT 1")


def test_mlflow_gets_the_address_of_its_own_database(
    postgres: Postgres, database: str, tmp_path: Path
) -> None:
    name = f"own_{make_url(database).database}"
    migrated(database, tmp_path, MLFLOW_TRACKING_URI="own", MLFLOW_DATABASE=name)

    url = address(tmp_path, "mlflow")
    assert run(url, "SELECT current_user, current_database()") == [(name, name)]
    execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")
    execute(postgres, f"DROP ROLE {name}")


def test_roles_of_databases_with_long_names_differ() -> None:
    names = {roles.role_name("d" * 60 + end, service) for end in "12" for service in SERVICES}
    assert len({name[:63] for name in names}) == 2 * len(SERVICES)
