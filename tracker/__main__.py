"""The MLflow server with its own database, users and environment: `python -m tracker`."""

import configparser
import os
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import psycopg2
from loguru import logger
from sqlalchemy.engine import URL

from common import kept, log
from common.leash import step_back
from common.settings import read
from db import migrate
from db import mlflow_database as database
from db.session import driver_url
from tracker.install import ready
from tracker.settings import TrackerSettings

OPERATOR = "operator"
SECRETS = ("operator.password", "appliance.password", "database.password", "flask.key")
LAUNCH = Path(__file__).parent / "launch.py"
LATER = 19  # a nice value
CACHED = 60  # seconds that a password counts as checked; each check takes 400 ms of a processor
# What a network and an artifact store may need; no token, no database.
PASSED_ON = (
    "PATH HOME LANG LC_ALL TZ TMPDIR SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE"
    " HTTPS_PROXY HTTP_PROXY ALL_PROXY NO_PROXY https_proxy http_proxy all_proxy no_proxy"
    " AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_DEFAULT_REGION AWS_PROFILE"
    " AWS_ENDPOINT_URL_S3 MLFLOW_S3_ENDPOINT_URL"
    " GOOGLE_APPLICATION_CREDENTIALS AZURE_STORAGE_CONNECTION_STRING"
)


def prepare(settings: TrackerSettings) -> bool:
    """Make the database and what MLflow reads; whether the operator's password was made now."""
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = [name for name in SECRETS if kept.make(folder / name)]
    url = settings.database_url.get_secret_value()
    migrate.wait_for(url)
    address = database_address(url, settings).render_as_string(hide_password=False)
    config = configparser.RawConfigParser()
    config["mlflow"] = {
        "database_uri": address.replace("%", "%%"),  # MLflow reads it with interpolation
        "default_permission": "NO_PERMISSIONS",
        "admin_username": OPERATOR,
        "admin_password": kept.read(folder / "operator.password") or "",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": str(CACHED),
    }
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as new:  # of mode 0600
        config.write(new)
    Path(new.name).rename(folder / "basic_auth.ini")
    return "operator.password" in made


def database_address(url: str, settings: TrackerSettings) -> URL:
    """Return where MLflow's tables are: DATABASE_URL where that is MLflow's own, else made beside it."""
    if database.is_own(url, settings.database):
        return driver_url(url)
    password = kept.read(settings.folder / "database.password") or ""
    database.prepare(url, settings.database, password)
    return database.address(url, settings.database, password)


def environment(settings: TrackerSettings) -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED_ON.split() if name in os.environ}
    return passed | {
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifacts or (settings.folder / "artifacts").as_uri(),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(settings.allowed_hosts),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def become(settings: TrackerSettings, python: Path, *options: str) -> NoReturn:
    """Turn this process into the server, as said in `launch.py`."""
    folder = settings.folder
    command = [str(python), "-I", "-W", "ignore", str(LAUNCH), str(folder), settings.bind, str(settings.port)]
    os.chdir(folder)
    os.execve(python, [*command, *options], environment(settings))  # noqa: S606 (a list, and no shell wanted)


def main() -> None:
    settings = read(TrackerSettings)
    log.configure("mlflow", settings.log)
    if os.getsid(0) == os.getpid():
        step_back("self", LATER)  # until the server listens: releases are built meanwhile
    python = ready(settings).python
    try:
        new_operator = prepare(settings)
    except database.NotAllowed as error:
        sys.exit(f"no MLflow server: {error}")
    except psycopg2.Error as error:
        sys.exit(f"no MLflow server: its database cannot be made: {str(error).strip()}")
    except OSError as error:
        sys.exit(f"no MLflow server: {settings.folder} cannot be used: {error}")
    logger.info("starting MLflow on {}:{}, passwords in {}", settings.bind, settings.port, settings.folder)
    become(settings, python, *(["--new-operator"] if new_operator else []))


if __name__ == "__main__":
    main()
