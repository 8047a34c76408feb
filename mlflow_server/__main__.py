"""The MLflow server with its own database, users and environment: `python -m mlflow_server`."""

import configparser
import os
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import psycopg2
from loguru import logger
from sqlalchemy.engine import URL

from common import log
from common.settings import load_settings
from common.system import secret_file
from common.system.pinned_venv import mark_in_use
from common.system.session_nice import set_session_nice
from db import migrate
from db import mlflow_database as database
from db.session import to_driver_url
from mlflow_server.install import ensure_installed
from mlflow_server.settings import MlflowServerSettings

OPERATOR = "operator"
SECRET_FILES = ("operator.password", "appliance.password", "database.password", "flask.key")
LAUNCH_SCRIPT = Path(__file__).parent / "launch.py"
STARTUP_NICE = 19  # a nice value
AUTH_CACHE_SECONDS = 60  # that a password counts as checked; each check takes 400 ms of a processor
# Variables that a network and an artifact store may need; no token, no database.
INHERITED_VARIABLES = (
    "PATH HOME LANG LC_ALL TZ TMPDIR SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE"
    " HTTPS_PROXY HTTP_PROXY ALL_PROXY NO_PROXY https_proxy http_proxy all_proxy no_proxy"
    " AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_DEFAULT_REGION AWS_PROFILE"
    " AWS_ENDPOINT_URL_S3 MLFLOW_S3_ENDPOINT_URL"
    " GOOGLE_APPLICATION_CREDENTIALS AZURE_STORAGE_CONNECTION_STRING"
)


def prepare_server(settings: MlflowServerSettings) -> bool:
    """Create the database and MLflow's configuration; return whether the operator's password is new."""
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = [name for name in SECRET_FILES if secret_file.create_if_missing(folder / name)]
    url = settings.database_url.get_secret_value()
    migrate.wait_for_postgres(url)
    address = find_database_url(url, settings).render_as_string(hide_password=False)
    config = configparser.RawConfigParser()
    config["mlflow"] = {
        "database_uri": address.replace("%", "%%"),  # MLflow reads it with interpolation
        "default_permission": "NO_PERMISSIONS",
        "admin_username": OPERATOR,
        "admin_password": secret_file.read(folder / "operator.password") or "",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": str(AUTH_CACHE_SECONDS),
    }
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as new:  # of mode 0600
        config.write(new)
    Path(new.name).rename(folder / "basic_auth.ini")
    return "operator.password" in made


def find_database_url(url: str, settings: MlflowServerSettings) -> URL:
    """Return the address of MLflow's database: DATABASE_URL if it is MLflow's own, else one created there."""
    if database.is_mlflow_database(url, settings.database):
        return to_driver_url(url)
    password = secret_file.read(settings.folder / "database.password") or ""
    database.ensure_database(url, settings.database, password)
    return database.database_url(url, settings.database, password)


def server_environment(settings: MlflowServerSettings) -> dict[str, str]:
    passed = {name: os.environ[name] for name in INHERITED_VARIABLES.split() if name in os.environ}
    return passed | {
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifacts or (settings.folder / "artifacts").as_uri(),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(settings.allowed_hosts),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def exec_server(settings: MlflowServerSettings, python: Path, *options: str) -> NoReturn:
    """Replace this process by the server, as described in `launch.py`."""
    folder = settings.folder
    command = [
        str(python),
        "-I",
        "-W",
        "ignore",
        str(LAUNCH_SCRIPT),
        str(folder),
        settings.bind,
        str(settings.port),
    ]
    os.chdir(folder)
    os.execve(python, [*command, *options], server_environment(settings))  # noqa: S606 (a list, and no shell wanted)


def main() -> None:
    settings = load_settings(MlflowServerSettings)
    log.configure("mlflow", settings.log)
    if os.getsid(0) == os.getpid():
        set_session_nice("self", STARTUP_NICE)  # until the server listens: releases are built meanwhile
    python = ensure_installed(settings).python
    mark_in_use(settings.venv_folder.parent)
    try:
        new_operator = prepare_server(settings)
    except database.MlflowDatabaseError as error:
        sys.exit(f"no MLflow server: {error}")
    except psycopg2.Error as error:
        sys.exit(f"no MLflow server: its database cannot be made: {str(error).strip()}")
    except OSError as error:
        sys.exit(f"no MLflow server: {settings.folder} cannot be used: {error}")
    logger.info("starting MLflow on {}:{}, passwords in {}", settings.bind, settings.port, settings.folder)
    exec_server(settings, python, *(["--new-operator"] if new_operator else []))


if __name__ == "__main__":
    main()
