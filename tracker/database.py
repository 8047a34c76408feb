"""The MLflow server's own role and database, in the Postgres that holds the appliance's."""

import psycopg2
from psycopg2 import errors, sql
from sqlalchemy.engine import URL

from db.session import driver_url


class NotAllowed(Exception):
    """There can be no such role or database here; the text says why and what to do."""


def address(appliance: str, name: str, password: str) -> URL:
    """Where MLflow finds its database: beside the appliance's, as the role of the same name."""
    return driver_url(appliance).set(username=name, password=password, database=name)


def prepare(appliance: str, name: str, password: str) -> None:
    """Make role and database `name` where they are missing, as the appliance's own role; safe to repeat.

    Raises `NotAllowed`, and psycopg2's `OperationalError` while Postgres is away.
    """
    if signs_in(address(appliance, name, password)):
        return
    connection = psycopg2.connect(plain(driver_url(appliance)), connect_timeout=5)
    try:
        connection.autocommit = True  # CREATE DATABASE allows no transaction
        with connection.cursor() as cursor:
            make_role(cursor, name, password, of=mark(connection.info.dbname))
            make_database(cursor, name)
    except errors.InsufficientPrivilege as error:
        raise NotAllowed(
            f"the role of DATABASE_URL may not make MLflow's role and database ({str(error).strip()}): "
            f"run ALTER ROLE {connection.info.user} CREATEROLE CREATEDB, or name a server that exists in "
            "MLFLOW_TRACKING_URI, or set MLFLOW_TRACKING_URI= to nothing to do without"
        ) from error
    finally:
        connection.close()


def plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def signs_in(url: URL) -> bool:
    try:
        psycopg2.connect(plain(url), connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True


def mark(database: str) -> str:
    """What tells a role that was made here from somebody else's of the same name."""
    return f"made by Slipway for the MLflow server beside the database {database}"


def make_role(cursor: "psycopg2.extensions.cursor", name: str, password: str, of: str) -> None:
    """The role, with this password: where a home was lost, it gets another."""
    role = sql.Identifier(name)
    cursor.execute("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [name])
    found = cursor.fetchone()
    if found and found[0] != of:
        raise NotAllowed(
            f"Postgres has a role {name} already, that was not made for this appliance: "
            "give this one another name with MLFLOW_DATABASE"
        )
    verb = sql.SQL("ALTER" if found else "CREATE")
    cursor.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD %s").format(verb, role), [password])
    cursor.execute(sql.SQL("COMMENT ON ROLE {} IS %s").format(role), [of])


def make_database(cursor: "psycopg2.extensions.cursor", name: str) -> None:
    """The database, that nobody else enters."""
    names = {"name": sql.Identifier(name)}
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
    if not cursor.fetchone():
        cursor.execute(
            sql.SQL("GRANT {name} TO CURRENT_USER").format(**names)
        )  # else it may not be the owner
        cursor.execute(sql.SQL("CREATE DATABASE {name} OWNER {name}").format(**names))
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {name} FROM PUBLIC").format(**names))
