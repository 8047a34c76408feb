"""The MLflow server's own role and database, in the Postgres server of the appliance's database."""

from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import cursor
from sqlalchemy.engine import URL

from db import roles
from db.session import to_driver_url

LOCK_KEY = 7_145_006  # two servers of one appliance at once: the second waits, then finds it done
ROLE_COMMENT = "made by Slipway for the MLflow server"
RENAME_HINT = "give the appliance's own another name with MLFLOW_DATABASE"


class MlflowDatabaseError(Exception):
    """A role or database that cannot be created here; the text gives the cause and what to do."""


def database_url(appliance: str, name: str, password: str) -> URL:
    """Return the address of MLflow's database: on the appliance's server, as the role of the same name."""
    return to_driver_url(appliance).set(username=name, password=password, database=name)


def ensure_database(appliance: str, name: str, password: str) -> None:
    """Create role and database `name` where they are missing, as the appliance's own role; safe to repeat.

    Raises `MlflowDatabaseError`, and psycopg2's `OperationalError` while Postgres is unavailable.
    """
    connection = psycopg2.connect(to_libpq_url(to_driver_url(appliance)), connect_timeout=5)
    try:
        connection.autocommit = True  # CREATE DATABASE allows no transaction
        with connection.cursor() as at:
            at.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
            role = read_role_comment(at, name)
            if role is not None and can_sign_in(database_url(appliance, name, password)):
                return
            mark = f"{ROLE_COMMENT} beside the database {connection.info.dbname}"
            if role not in (None, mark):
                raise MlflowDatabaseError(
                    f"Postgres has a role {name} that was not made for this appliance: "
                    f"{RENAME_HINT}; if it was, and"
                    " a restored dump has lost the note of that, run "
                    f"{roles.comment_statement(at, name, mark)}"
                )
            make_role(at, name, password, mark, new=role is None)
            make_database(at, name)
    except errors.InsufficientPrivilege as error:
        raise MlflowDatabaseError(
            f"the role of DATABASE_URL may not make MLflow's role and database ({str(error).strip()}): "
            f"run ALTER ROLE {connection.info.user} CREATEROLE CREATEDB, or name a server that exists in "
            "MLFLOW_TRACKING_URI, or set MLFLOW_TRACKING_URI= to nothing to do without"
        ) from error
    finally:
        connection.close()


def is_mlflow_database(url: str, name: str) -> bool:
    """Return whether this is already the address of MLflow's own database, as its own role."""
    given = to_driver_url(url)
    if not given.username == given.database == name:
        return False
    with (
        closing(psycopg2.connect(to_libpq_url(given), connect_timeout=5)) as connection,
        connection.cursor() as at,
    ):
        return (read_role_comment(at, name) or "").startswith(ROLE_COMMENT)


def provide_url(appliance: str, name: str, folder: Path) -> None:
    """Create both, and write their address to `folder`; the appliance's where they cannot be created.

    The server then tries itself, and reports what is missing: nothing else waits for it.
    """
    found = roles.service_url(to_driver_url(appliance), name, folder).set(database=name)
    try:
        ensure_database(appliance, name, str(found.password))
    except (MlflowDatabaseError, psycopg2.Error):
        found = to_driver_url(appliance)
    roles.write_url(found, folder)


def to_libpq_url(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def can_sign_in(url: URL) -> bool:
    try:
        psycopg2.connect(to_libpq_url(url), connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True


def read_role_comment(at: cursor, name: str) -> str | None:
    """Return a role's comment, empty when there is none; None where there is no such role."""
    at.execute("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [name])
    found = at.fetchone()
    return (found[0] or "") if found else None


def make_role(at: cursor, name: str, password: str, comment: str, *, new: bool) -> None:
    """Create the role, or set its password, which is a new one where a SLIPWAY_HOME was lost."""
    role, verb = sql.Identifier(name), sql.SQL("CREATE" if new else "ALTER")
    at.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD %s").format(verb, role), [password])
    at.execute(roles.comment_statement(at, name, comment))


def make_database(at: cursor, name: str) -> None:
    """Create the database, closed to other roles."""
    names = {"name": sql.Identifier(name)}
    at.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [name])
    owner = at.fetchone()
    if owner and owner[0] != name:
        raise MlflowDatabaseError(
            f"Postgres has a database {name} that is {owner[0]}'s: {RENAME_HINT}; if it is this "
            "appliance's, from a "
            f"dump, drop it and restore it as its owner, with pg_restore --no-owner --role={name}"
        )
    if not owner:
        at.execute(sql.SQL("GRANT {name} TO CURRENT_USER").format(**names))  # else it may not name the owner
        at.execute(sql.SQL("CREATE DATABASE {name} OWNER {name}").format(**names))
    at.execute(sql.SQL("REVOKE ALL ON DATABASE {name} FROM PUBLIC").format(**names))
