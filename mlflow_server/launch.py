"""The start of the MLflow server, inside its virtual environment.

    python -I launch.py FOLDER HOST PORT [--new-operator]

FOLDER/basic_auth.ini  MLflow's configuration: the database's address with its password, the operator's
FOLDER/flask.key       signs MLflow's session data
FOLDER/*.password      of the users `operator` and `slipway`; --new-operator: the first is new

Nothing of ours is imported but `guards`. This does what `mlflow server --app-name basic-auth` does, in
one process in place of two, and with no password in an environment that other processes could read.
"""

# ruff: noqa: PLC0415 (MLflow's modules read the environment when they are imported)
import configparser
import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_DUMPABLE = 4  # <linux/prctl.h>
LOCK_KEY = 7_145_005  # two servers of one database at once: the second waits, then finds nothing to do
OPERATOR, APPLIANCE = "operator", "slipway"


def set_environment(folder: Path, database: str) -> None:
    """Set the variables that `mlflow server` sets for its workers."""
    os.environ |= {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": (folder / "flask.key").read_text().strip(),
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": os.environ["MLFLOW_ARTIFACTS_DESTINATION"],
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED": "true",  # by `create_users`
    }


def initialize_database(database: str, folder: Path, new_operator: bool) -> None:
    """Create the users where they are missing, and migrate the tables to this MLflow's schema."""
    from mlflow.store.db import utils
    from sqlalchemy import text

    engine = utils.create_sqlalchemy_engine_with_retry(database)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK_KEY})
        utils._safe_initialize_tables(engine)
        utils._upgrade_db(engine)
        create_users(folder, new_operator)
    engine.dispose()


def create_users(folder: Path, new_operator: bool) -> None:
    """Create both users where missing, and update the appliance's password to the one stored here."""
    from mlflow.server import auth

    passwords = {
        OPERATOR: (folder / "operator.password").read_text().strip(),
        APPLIANCE: (folder / "appliance.password").read_text().strip(),
    }
    auth.store.init_db(auth.auth_config.database_uri)
    for user, password in passwords.items():
        if not auth.store.has_user(user):
            auth.store.create_user(user, password, is_admin=True)
        elif auth.store.authenticate_user(user, password):
            continue
        elif user == APPLIANCE or new_operator:
            auth.store.update_user(user, password=password, is_admin=True)
        else:
            print(  # noqa: T201 (to the log, as MLflow itself does)
                f"{user} signs in with another password than the one in {folder / 'operator.password'}: "
                "to have a new one made, delete that file and start again",
                file=sys.stderr,
            )


def main() -> None:
    # from here on, environment and memory are unreadable to others
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    folder, host, port, *options = sys.argv[1:]
    config = configparser.ConfigParser()
    config.read(Path(folder, "basic_auth.ini"))
    database = config["mlflow"]["database_uri"]
    set_environment(Path(folder), database)
    initialize_database(database, Path(folder), new_operator="--new-operator" in options)

    sys.path.append(str(Path(__file__).parents[1]))
    import uvicorn
    from mlflow.server.auth import create_app

    from mlflow_server import guards

    guards.restrict_artifacts(os.environ["MLFLOW_ARTIFACTS_DESTINATION"])
    app = guards.block_new_names(guards.block_assistant(create_app()))
    with suppress(OSError):  # no autogroups here, or not ours
        Path("/proc/self/autogroup").write_text("0")  # the same priority as other sessions from now on
    uvicorn.run(app, host=host, port=int(port), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
