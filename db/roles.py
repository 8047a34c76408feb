"""Postgres roles: one for each service, with no more rights than it needs.

The role of `DATABASE_URL` owns the tables and is used only to migrate. Each service's rights are in
`GRANTS` and are granted again after each migration.
"""

import hashlib
import os
import secrets
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import errors, sql
from psycopg2.extensions import cursor, encrypt_password
from sqlalchemy import make_url
from sqlalchemy.engine import URL

from db.session import describe_error, to_driver_url

LOCK_KEY = 7_145_001  # two that migrate and grant at once: the second waits, then finds nothing to do
URL_FILE = "database-url"  # below a folder of the service's name
MAX_NAME_BYTES = 63

# what is read of open pull requests
OPEN_COLUMNS = (
    "SELECT (_sdc_repository, number, state, draft, title, user_login, user_id, base_ref, head_sha, "
    "head_repository_id, head_owner_id, base_repository_id)"
)
# what GitHub should show is written with the change that causes it
PUT_RIGHTS = "SELECT, INSERT, UPDATE (facts, position, version, state, due_at, changed_at)"
EVENT_RIGHTS = "SELECT, INSERT, UPDATE (event, facts, message, occurred_at, due_at, ended_at)"

# a service → each table → what is granted to it; nothing: ""
GRANTS: dict[str, dict[str, str]] = {
    "vcs": {
        "vcs.pull_requests": "SELECT, INSERT, UPDATE",
        "vcs.accepted_pull_requests": "SELECT",
        "vcs.sync_states": "SELECT, INSERT, UPDATE",
        "vcs.deliveries": "SELECT, INSERT, DELETE",
        "vcs.merge_queues": "SELECT, INSERT, UPDATE",
        "vcs.outbox": "SELECT, UPDATE, DELETE",
        "vcs.notifications": "SELECT, INSERT, UPDATE, DELETE",
        "vcs.notification_deliveries": "SELECT, INSERT, UPDATE, DELETE",
        "vcs.clone_tokens": "SELECT (repository), INSERT, UPDATE (token, expires_at), DELETE",
        "vcs.recheck_requests": "SELECT (repository, commit, model), INSERT",
        "appliance": (
            "SELECT, INSERT (id, mode), "
            "UPDATE (github, outbox, has_github_app, notifications, has_notifications)"
        ),
        # what its page shows of a merge
        "releases": "SELECT (id, repository, commit, trigger, status, reason)",
        "stages": "",
        "deployments": "",
        "quarantines": "",
        "scores": "",
        "requests": "",
        "ground_truth": "",
        "drift_windows": "",
        "quality_windows": "",
        "monitor_states": "",
        "traffic": "",
        "hourly_traffic": "",
        "tracked": "",
        "aliases": "",
        "approvals": "",
        "retrainings": "",
        "retraining_plans": "",
        "alembic_version": "",
    },
    "watch": {
        "vcs.pull_requests": OPEN_COLUMNS,
        "vcs.accepted_pull_requests": "SELECT",
        "vcs.sync_states": "",
        "vcs.deliveries": "",
        "vcs.merge_queues": "SELECT",
        "vcs.outbox": PUT_RIGHTS,
        "vcs.clone_tokens": "SELECT, DELETE",  # one that the git server refuses
        "vcs.notifications": EVENT_RIGHTS,
        "vcs.notification_deliveries": "",
        "vcs.recheck_requests": "SELECT, DELETE",
        "appliance": "SELECT, UPDATE (looked_at, tracking)",
        "releases": "SELECT, INSERT, UPDATE",
        "stages": "SELECT, INSERT, UPDATE",
        "deployments": "SELECT, INSERT, UPDATE (state, reason)",  # a decision overrules the one before it
        "quarantines": "SELECT, UPDATE (ended_at, covers_commit)",  # a promotion in MLflow ends one
        "scores": "SELECT, UPDATE",
        "requests": "SELECT",
        "ground_truth": "SELECT, UPDATE (is_early), DELETE",  # what has no row after a day
        "drift_windows": "SELECT, INSERT, UPDATE (findings), DELETE",
        "quality_windows": "SELECT, INSERT, DELETE",
        "monitor_states": "SELECT, INSERT, UPDATE, DELETE",
        "traffic": "",
        "hourly_traffic": "",
        "tracked": "SELECT, INSERT, UPDATE, DELETE",
        "aliases": "SELECT, INSERT, UPDATE",
        "approvals": "SELECT",
        "retrainings": "SELECT, INSERT, UPDATE, DELETE",
        "retraining_plans": "SELECT, INSERT, UPDATE, DELETE",
        "alembic_version": "",
    },
    "serve": {
        "vcs.pull_requests": OPEN_COLUMNS,
        "vcs.accepted_pull_requests": "SELECT",
        "vcs.sync_states": "",
        "vcs.deliveries": "",
        "vcs.merge_queues": "",
        "vcs.outbox": PUT_RIGHTS,
        "vcs.notifications": EVENT_RIGHTS,
        "vcs.notification_deliveries": "",
        "vcs.clone_tokens": "",
        "vcs.recheck_requests": "",
        "appliance": "SELECT",
        "releases": (
            "SELECT, INSERT, "
            "UPDATE (status, reason, token, finished_at, hold, differences, drift_baseline, drift_source)"
        ),
        "stages": "SELECT, UPDATE (outcome, ended_at)",
        "deployments": "SELECT, INSERT, UPDATE (state, live_at, reason)",
        "quarantines": "SELECT, INSERT, UPDATE (ended_at, covers_commit)",
        "scores": "SELECT, INSERT",
        "requests": "SELECT, INSERT, DELETE",
        "ground_truth": "SELECT, INSERT, UPDATE, DELETE",
        "drift_windows": "SELECT, UPDATE (findings)",  # whose values a person erases
        "quality_windows": "SELECT",
        "monitor_states": "SELECT",
        "traffic": "SELECT, INSERT, DELETE",
        "hourly_traffic": "SELECT, INSERT, UPDATE (failed, counts), DELETE",
        "tracked": "SELECT",
        "aliases": "SELECT",
        "approvals": "SELECT, INSERT",
        # an operator starts what is suggested, and another commit that goes live ends it
        "retrainings": "SELECT, UPDATE (state, outcome, requested_by, ended_at)",
        "retraining_plans": "SELECT, INSERT, UPDATE",
        "alembic_version": "",
    },
}
# a service → functions that it may call; they make and drop partitions, which belong to the owner
FUNCTION_GRANTS: dict[str, tuple[str, ...]] = {
    "watch": ("create_request_partition(date)", "drop_request_partition(date)"),
    "serve": ("create_request_partition(date)",),
}
CONNECT_SECONDS, SIGN_IN_SECONDS = 5, 60
# of libpq, and of a server that starts, ends or is full: they say nothing of a role
BUSY_MESSAGES = (
    *("timeout expired", "has not responded", "Connection refused", "server closed the connection"),
    *(
        "could not receive data",
        "too many clients",
        "remaining connection slots",
        "starting up",
        "shutting down",
        "recovery mode",
    ),
)
TEMPORARY_TABLES = ("vcs",)  # Singer's target loads its rows through one


class NoRolesError(Exception):
    """Roles that cannot be created here; the text gives the cause and what to do."""


def role_name(database: str, service: str) -> str:
    """Return the role of `service` in `database`: a cluster's databases have different names."""
    name = f"{database}_{service}"
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    return f"slipway_{hashlib.sha256(database.encode()).hexdigest()[:24]}_{service}"


def make_roles(url: str, folder: Path) -> None:
    """Create each service's role where it is missing, and write its address to `folder`/SERVICE/database-url.

    A password is reused from one start to the next. Safe to repeat, and from several processes.
    Raises `NoRolesError`, and psycopg2's `OperationalError` while Postgres is unavailable.
    """
    owner = to_driver_url(url)
    try:
        with closing(psycopg2.connect(to_libpq_url(owner), connect_timeout=5)) as connection, connection:
            at = connection.cursor()
            # beyond the commit: another start would replace passwords that are not written yet
            at.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
            urls = {
                service: service_url(owner, role_name(connection.info.dbname, service), folder / service)
                for service in GRANTS
            }
            for service, found in urls.items():
                if read_role_comment(at, str(found.username)) is None or explain_refusal(found) is not None:
                    make_role(at, found, role_comment(connection.info.dbname, service))
            grant_rights(at)
            connection.commit()  # from here on they can sign in
            for service, found in urls.items():
                if (cause := explain_refusal(found)) is not None:
                    raise NoRolesError(f"{found.username} is not let in ({cause}): see pg_hba.conf")
                write_url(found, folder / service)
    except errors.InsufficientPrivilege as error:
        cause = describe_error(error)
        raise NoRolesError(
            f"{owner.username} may not make roles ({cause}): run ALTER ROLE {owner.username} CREATEROLE"
        ) from error


def share_role(url: str, folder: Path) -> None:
    """Write the address of the only role for every service."""
    for service in GRANTS:
        write_url(to_driver_url(url), folder / service)


def grant_rights(at: cursor) -> None:
    """Update the rights of the roles that were created for this database to `GRANTS`."""
    database, schema = (
        fetch_value(at, "SELECT current_database()"),
        fetch_value(at, "SELECT current_schema()"),
    )
    for service, tables in GRANTS.items():
        role = role_name(database, service)
        if read_role_comment(at, role) != role_comment(database, service):
            continue
        for name in (schema, "vcs"):
            execute_statement(at, "GRANT USAGE ON SCHEMA {} TO {}", name, role)
            execute_statement(at, "REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}", name, role)
            execute_statement(at, "REVOKE ALL ON ALL SEQUENCES IN SCHEMA {} FROM {}", name, role)
            execute_statement(at, "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {} FROM {}", name, role)
        for table, rights in tables.items():
            if rights:
                execute_statement(at, f"GRANT {rights} ON {table} TO {{}}", role)
            if "INSERT" in rights and fetch_value(at, "SELECT to_regclass(%s)::text", f"{table}_id_seq"):
                execute_statement(at, f"GRANT USAGE ON SEQUENCE {table}_id_seq TO {{}}", role)
        for function in FUNCTION_GRANTS.get(service, ()):
            execute_statement(at, f"GRANT EXECUTE ON FUNCTION {function} TO {{}}", role)
        may_have_temporary = "SELECT has_database_privilege(%s, current_database(), 'TEMPORARY')"
        if service in TEMPORARY_TABLES and not fetch_value(at, may_have_temporary, role):
            execute_statement(at, "GRANT TEMPORARY ON DATABASE {} TO {}", database, role)
    # before Postgres 15 everybody may create tables, and functions that others then call by mistake
    if fetch_value(at, "SELECT has_schema_privilege('public', %s, 'CREATE')", schema):
        execute_statement(at, "REVOKE CREATE ON SCHEMA {} FROM PUBLIC", schema)


def execute_statement(at: cursor, statement: str, *names: str) -> None:
    at.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def fetch_value(at: cursor, query: str, *values: str) -> Any:
    """Return the only value of a query's only row, None where there is no row."""
    at.execute(query, values)
    row = at.fetchone()
    return row[0] if row else None


def role_comment(database: str, service: str) -> str:
    """Return the comment on a role of ours, so that other people's roles are left as they are."""
    return f"made by Slipway for {service} of the database {database}"


def read_role_comment(at: cursor, role: str) -> str | None:
    """Return a role's comment, empty when there is none; None where there is no such role."""
    query = "SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s"
    found: str | None = fetch_value(at, query, role)
    return found


def comment_statement(at: cursor, role: str, comment: str) -> str:
    """Return the statement that sets this comment on a role; a dump of a database does not have it."""
    statement = sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(role), sql.Literal(comment))
    return str(statement.as_string(at))


def make_role(at: cursor, url: URL, comment: str) -> None:
    """Create the role of this address, or set the address's password on it.

    Postgres is sent a password verifier, and not the password: statements may be logged.
    """
    role, existing = str(url.username), read_role_comment(at, str(url.username))
    if existing not in (None, comment):
        raise NoRolesError(
            f"Postgres has a role {role} that was not made for this appliance: rename it; if it was, and a "
            f"restored dump has lost the note of that, run {comment_statement(at, role, comment)}"
        )
    verifier = encrypt_password(str(url.password), role, at.connection, "scram-sha-256")
    verb = "CREATE" if existing is None else "ALTER"
    values = {"role": sql.Identifier(role), "verifier": sql.Literal(verifier)}
    at.execute(sql.SQL(f"{verb} ROLE {{role}} LOGIN PASSWORD {{verifier}}").format(**values))
    at.execute(comment_statement(at, role, comment))
    schema = fetch_value(at, "SELECT current_schema()")
    execute_statement(
        at, "ALTER ROLE {} IN DATABASE {} SET search_path = {}", role, at.connection.info.dbname, schema
    )


def service_url(owner: URL, role: str, folder: Path) -> URL:
    """Return the database's address as `role`, with the stored password or a new one."""
    try:
        stored = make_url((folder / URL_FILE).read_text().strip())
    except FileNotFoundError:
        stored = owner
    password = stored.password if stored.username == role else None
    return owner.set(username=role, password=str(password or secrets.token_urlsafe(24)))


def explain_refusal(url: URL) -> str | None:
    """Return why Postgres refuses this role and password; None when it accepts them.

    Raises psycopg2's `OperationalError` where Postgres is too busy to say: with no role of its own a service
    would get the owner's.
    """
    end = time.monotonic() + SIGN_IN_SECONDS
    while True:
        try:
            psycopg2.connect(to_libpq_url(url), connect_timeout=CONNECT_SECONDS).close()
        except psycopg2.OperationalError as error:
            if not any(text in str(error) for text in BUSY_MESSAGES):
                return describe_error(error)
            if time.monotonic() > end:
                raise
            time.sleep(0.3)
        else:
            return None


def write_url(url: URL, folder: Path) -> None:
    """Write the address where the service reads it, in a file closed to other users."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, new = tempfile.mkstemp(dir=folder)
    with os.fdopen(descriptor, "w") as file:
        file.write(to_libpq_url(url))
        file.flush()
        os.fsync(file.fileno())
    Path(new).rename(folder / URL_FILE)


def to_libpq_url(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
