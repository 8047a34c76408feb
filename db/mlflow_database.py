"""The MLflow server's own role and database, in the Postgres that holds the appliance's."""

from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import cursor
from sqlalchemy.engine import URL

from db import roles
from db.session import driver_url

LOCK = 7_145_006  # two servers of one appliance at once: the second waits, then finds it done
MARK = "made by Slipway for the MLflow server"
CURE = "give the appliance's own another name with MLFLOW_DATABASE"


class NotAllowed(Exception):
    """There can be no such role or database here; the text says why and what to do."""


def address(appliance: str, name: str, password: str) -> URL:
    """Where MLflow finds its database: beside the appliance's, as the role of the same name."""
    return driver_url(appliance).set(username=name, password=password, database=name)


def prepare(appliance: str, name: str, password: str) -> None:
    """Make role and database `name` where they are missing, as the appliance's own role; safe to repeat.

    Raises `NotAllowed`, and psycopg2's `OperationalError` while Postgres is away.
    """
    connection = psycopg2.connect(plain(driver_url(appliance)), connect_timeout=5)
    try:
        connection.autocommit = True  # CREATE DATABASE allows no transaction
        with connection.cursor() as at:
            at.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            role = made_for(at, name)
            if role is not None and signs_in(address(appliance, name, password)):
                return
            mark = f"{MARK} beside the database {connection.info.dbname}"
            if role not in (None, mark):
                raise NotAllowed(f"Postgres has a role {name} that was not made for this appliance: {CURE}")
            make_role(at, name, password, mark, new=role is None)
            make_database(at, name)
    except errors.InsufficientPrivilege as error:
        raise NotAllowed(
            f"the role of DATABASE_URL may not make MLflow's role and database ({str(error).strip()}): "
            f"run ALTER ROLE {connection.info.user} CREATEROLE CREATEDB, or name a server that exists in "
            "MLFLOW_TRACKING_URI, or set MLFLOW_TRACKING_URI= to nothing to do without"
        ) from error
    finally:
        connection.close()


def is_own(url: str, name: str) -> bool:
    """Return whether this is already the address of MLflow's own database, as its own role."""
    given = driver_url(url)
    if not given.username == given.database == name:
        return False
    with closing(psycopg2.connect(plain(given), connect_timeout=5)) as connection, connection.cursor() as at:
        return (made_for(at, name) or "").startswith(MARK)


def provide_url(appliance: str, name: str, folder: Path) -> None:
    """Make both, and write their address to `folder`; the appliance's where they cannot be made.

    The server then tries itself, and says what is missing: nothing else waits for it.
    """
    found = roles.service_url(driver_url(appliance), name, folder).set(database=name)
    try:
        prepare(appliance, name, str(found.password))
    except (NotAllowed, psycopg2.Error):
        found = driver_url(appliance)
    roles.write_url(found, folder)


def plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def signs_in(url: URL) -> bool:
    try:
        psycopg2.connect(plain(url), connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True


def made_for(at: cursor, name: str) -> str | None:
    """What is noted of a role, empty when nothing is; None where there is no such role."""
    at.execute("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [name])
    found = at.fetchone()
    return (found[0] or "") if found else None


def make_role(at: cursor, name: str, password: str, mark: str, *, new: bool) -> None:
    """The role with this password, which is another one where a home was lost."""
    role, verb = sql.Identifier(name), sql.SQL("CREATE" if new else "ALTER")
    at.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD %s").format(verb, role), [password])
    at.execute(sql.SQL("COMMENT ON ROLE {} IS %s").format(role), [mark])


def make_database(at: cursor, name: str) -> None:
    """The database, that nobody else enters."""
    names = {"name": sql.Identifier(name)}
    at.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [name])
    owner = at.fetchone()
    if owner and owner[0] != name:
        raise NotAllowed(f"Postgres has a database {name} that is {owner[0]}'s: {CURE}")
    if not owner:
        at.execute(sql.SQL("GRANT {name} TO CURRENT_USER").format(**names))  # else it may not name the owner
        at.execute(sql.SQL("CREATE DATABASE {name} OWNER {name}").format(**names))
    at.execute(sql.SQL("REVOKE ALL ON DATABASE {name} FROM PUBLIC").format(**names))
