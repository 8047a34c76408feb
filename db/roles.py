"""A role in Postgres for each service, with no more rights than it needs.

The role of `DATABASE_URL` owns the tables and is used to migrate alone. What each service may do stands in
`GRANTS` and is granted anew after each migration.
"""

import hashlib
import os
import secrets
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import cursor, encrypt_password
from sqlalchemy import make_url
from sqlalchemy.engine import URL

from db.session import driver_url

LOCK = 7_145_001  # two that migrate and grant at once: the second waits, then finds nothing to do
FILE = "database-url"  # below a folder of the service's name
MAX_NAME_BYTES = 63

# a service → each table → what is granted to it; nothing: ""
GRANTS: dict[str, dict[str, str]] = {
    "vcs": {
        "vcs.pull_requests": "SELECT, INSERT, UPDATE",
        "vcs.accepted_pull_requests": "SELECT",
        "vcs.sync_states": "SELECT, INSERT, UPDATE",
        "vcs.deliveries": "SELECT, INSERT, DELETE",
        "appliance": "SELECT, INSERT (id, mode), UPDATE (github)",
        "releases": "SELECT (id, repository, commit, status, reason)",  # what its page shows of a merge
        "stages": "",
        "deployments": "",
        "quarantines": "",
        "scores": "",
        "predictions": "",
        "tracked": "",
        "aliases": "",
        "alembic_version": "",
    },
    "watch": {
        "vcs.pull_requests": "",
        "vcs.accepted_pull_requests": "SELECT",
        "vcs.sync_states": "",
        "vcs.deliveries": "",
        "appliance": "SELECT, UPDATE (looked_at, tracking)",
        "releases": "SELECT, INSERT, UPDATE",
        "stages": "SELECT, INSERT, UPDATE",
        "deployments": "SELECT, INSERT, UPDATE (state, reason)",  # a decision overrules the one before it
        "quarantines": "SELECT, UPDATE (ended_at)",  # a promotion in MLflow ends one
        "scores": "SELECT, UPDATE",
        "predictions": "SELECT",
        "tracked": "SELECT, INSERT, UPDATE, DELETE",
        "aliases": "SELECT, INSERT, UPDATE",
        "alembic_version": "",
    },
    "serve": {
        "vcs.pull_requests": "",
        "vcs.accepted_pull_requests": "SELECT",
        "vcs.sync_states": "",
        "vcs.deliveries": "",
        "appliance": "SELECT",
        "releases": "SELECT, INSERT, UPDATE (status, reason, token, finished_at, hold)",
        "stages": "SELECT, UPDATE (outcome, ended_at)",
        "deployments": "SELECT, INSERT, UPDATE (state, live_at, reason)",
        "quarantines": "SELECT, INSERT, UPDATE (ended_at)",
        "scores": "SELECT, INSERT",
        "predictions": "SELECT, INSERT, DELETE",
        "tracked": "SELECT",
        "aliases": "SELECT",
        "alembic_version": "",
    },
}
TEMPORARY_TABLES = ("vcs",)  # Singer's target brings its rows by one


class NoRolesError(Exception):
    """The services cannot have roles of their own here; the text says why and what to do."""


def role_name(database: str, service: str) -> str:
    """Return the role of `service` in `database`: a cluster's databases have different names."""
    name = f"{database}_{service}"
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    return f"slipway_{hashlib.sha256(database.encode()).hexdigest()[:24]}_{service}"


def make_roles(url: str, folder: Path) -> None:
    """Make each service's role where it is missing, and write its address to `folder`/SERVICE/database-url.

    A password is kept from one start to the next. Safe to repeat, and from several processes.
    Raises `NoRolesError`, and psycopg2's `OperationalError` while Postgres is away.
    """
    owner = driver_url(url)
    try:
        with closing(psycopg2.connect(plain(owner), connect_timeout=5)) as connection, connection:
            at = connection.cursor()
            at.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            urls = {
                service: service_url(owner, role_name(connection.info.dbname, service), folder / service)
                for service in GRANTS
            }
            for service, found in urls.items():
                if refusal(found) is not None:
                    make_role(at, found, mark(connection.info.dbname, service))
            grant(at)
            connection.commit()  # from here on they can sign in
            for service, found in urls.items():
                if (cause := refusal(found)) is not None:
                    raise NoRolesError(f"{found.username} is not let in ({cause}): see pg_hba.conf")
                write_url(found, folder / service)
    except errors.InsufficientPrivilege as error:
        cause = str(error).strip().splitlines()[0]
        raise NoRolesError(
            f"{owner.username} may not make roles ({cause}): run ALTER ROLE {owner.username} CREATEROLE"
        ) from error


def share_role(url: str, folder: Path) -> None:
    """Give every service the address of the one role that there is."""
    for service in GRANTS:
        write_url(driver_url(url), folder / service)


def grant(at: cursor) -> None:
    """Bring the rights of the roles that were made for this database to what `GRANTS` says."""
    database, schema = one(at, "SELECT current_database()"), one(at, "SELECT current_schema()")
    for service, tables in GRANTS.items():
        role = role_name(database, service)
        if mark_of(at, role) != mark(database, service):
            continue
        for name in (schema, "vcs"):
            run(at, "GRANT USAGE ON SCHEMA {} TO {}", name, role)
            run(at, "REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}", name, role)
            run(at, "REVOKE ALL ON ALL SEQUENCES IN SCHEMA {} FROM {}", name, role)
        for table, rights in tables.items():
            if rights:
                run(at, f"GRANT {rights} ON {table} TO {{}}", role)
            if "INSERT" in rights and one(at, "SELECT to_regclass(%s)::text", f"{table}_id_seq"):
                run(at, f"GRANT USAGE ON SEQUENCE {table}_id_seq TO {{}}", role)
        may_have_temporary = "SELECT has_database_privilege(%s, current_database(), 'TEMPORARY')"
        if service in TEMPORARY_TABLES and not one(at, may_have_temporary, role):
            run(at, "GRANT TEMPORARY ON DATABASE {} TO {}", database, role)
    # before Postgres 15 everybody may make tables, and functions that others then call by mistake
    if one(at, "SELECT has_schema_privilege('public', %s, 'CREATE')", schema):
        run(at, "REVOKE CREATE ON SCHEMA {} FROM PUBLIC", schema)


def run(at: cursor, statement: str, *names: str) -> None:
    at.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def one(at: cursor, query: str, *values: str) -> Any:
    """Return the only value of a query's only row, None where there is no row."""
    at.execute(query, values)
    row = at.fetchone()
    return row[0] if row else None


def mark(database: str, service: str) -> str:
    """Return what is noted of a role, so that one of somebody else's is left as it is."""
    return f"made by Slipway for {service} of the database {database}"


def mark_of(at: cursor, role: str) -> str | None:
    """Return what is noted of a role, empty when nothing is; None where there is no such role."""
    query = "SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s"
    found: str | None = one(at, query, role)
    return found


def make_role(at: cursor, url: URL, note: str) -> None:
    """Make the role of this address, or give it the password that stands there.

    Postgres is sent what it checks a password by, and not the password: statements may be logged.
    """
    role, known = str(url.username), mark_of(at, str(url.username))
    if known not in (None, note):
        raise NoRolesError(f"Postgres has a role {role} that was not made for this appliance: rename it")
    verifier = encrypt_password(str(url.password), role, at.connection, "scram-sha-256")
    verb = "CREATE" if known is None else "ALTER"
    values = {"role": sql.Identifier(role), "verifier": sql.Literal(verifier), "note": sql.Literal(note)}
    at.execute(sql.SQL(f"{verb} ROLE {{role}} LOGIN PASSWORD {{verifier}}").format(**values))
    at.execute(sql.SQL("COMMENT ON ROLE {role} IS {note}").format(**values))
    schema = one(at, "SELECT current_schema()")
    run(at, "ALTER ROLE {} IN DATABASE {} SET search_path = {}", role, at.connection.info.dbname, schema)


def service_url(owner: URL, role: str, folder: Path) -> URL:
    """Return the address of the database as `role`, with the password that was kept or a new one."""
    try:
        kept = make_url((folder / FILE).read_text().strip())
    except FileNotFoundError:
        kept = owner
    password = kept.password if kept.username == role else None
    return owner.set(username=role, password=str(password or secrets.token_urlsafe(24)))


def refusal(url: URL) -> str | None:
    """Return why Postgres does not let this role and password in; None when it does."""
    try:
        psycopg2.connect(plain(url), connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        return str(error).strip().splitlines()[0]
    return None


def write_url(url: URL, folder: Path) -> None:
    """Put the address where the service reads it, in a file closed to other users."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, new = tempfile.mkstemp(dir=folder)
    with os.fdopen(descriptor, "w") as file:
        file.write(plain(url))
        file.flush()
        os.fsync(file.fileno())
    Path(new).rename(folder / FILE)


def plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
