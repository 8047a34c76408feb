"""The appliance without Docker: the same processes as the compose file's, as children of this one."""

import os
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from itertools import combinations
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from cli import address
from cli.errors import UserError
from cli.settings import CliSettings
from cli.up import home_lock, mlflow_process, ports
from cli.up.console import Console
from cli.up.postgres import Postgres
from cli.up.supervisor import OWN_NAME, Program, StopRequestedError, Supervisor
from cli.up.welcome import format_welcome
from common.auth import operator_token
from common.settings import load_settings
from common.system import hardening
from common.system.ports import find_free_port
from db import appliance, databases, roles
from db.session import create_sessionmaker
from vcs.notifications.settings import NotificationSettings

DATABASE_NAME = "slipway"
DATABASE_VARIABLES = ("DATABASE_URL", "DATABASE_URL_FILE")  # as its owner: only for the migration
APP_VARIABLES = ("GITHUB_APP_ID", "GITHUB_APP_ID_FILE", "GITHUB_APP_KEY_FILE")  # only for vcs
RECEIVER_VARIABLES = tuple(  # only for vcs
    f"SLIPWAY_{name}{end}" for name in ("WEBHOOKS", "NOTIFY", "NOTIFY_ALLOW") for end in ("", "_FILE")
)
TOKEN_VARIABLES = ("SLIPWAY_TOKEN", "SLIPWAY_TOKEN_FILE")  # only for serve and vcs
DEMO_REPOSITORY = "demo/encyclopedia-visits"


def run_appliance(settings: CliSettings) -> None:
    """Run the appliance until it is stopped; raises `UserError` when it cannot start."""
    hardening.make_undumpable()
    settings.model_entries  # noqa: B018 (errors in models.toml are reported before anything is created)
    load_settings(NotificationSettings)  # the same of the receivers of notifications
    folder = settings.home.absolute()
    home_lock.make_folder(folder)
    # several may share the folder, but not the Postgres and the demo that would be started in it
    lock = home_lock.acquire_lock(folder, shared=bool(settings.database_url and settings.model_entries))
    check_ports(settings)
    check_token(settings)

    first = not settings.token and not operator_token.token_path(folder).exists()
    console = Console(folder / "logs")
    supervisor = Supervisor(console, lock)
    try:
        addresses = settings.service_addresses
        address.write_addresses(folder, addresses)
        start_services(settings, folder, supervisor)
        if supervisor.wait_until(lambda: all(map(is_answering, addresses.values())), seconds=120):
            made = operator_token.read_stored(folder) if first else None
            console.write_block(
                format_welcome(settings, folder, made, list(list_pending_installs(settings, addresses)))
            )
        else:
            console.write_line(
                OWN_NAME, f"{addresses['vcs']} or {addresses['serve']} does not answer: see above why"
            )
        supervisor.run_forever()
    except StopRequestedError:
        console.write_line(OWN_NAME, "ending; once more to hurry")
    finally:
        supervisor.stop_all(last="postgres")
        address.remove_addresses(folder)


def check_ports(settings: CliSettings) -> None:
    """Check the ports; raises `UserError` when two are the same, or one is taken."""
    wanted = {"VCS_PORT": settings.vcs_port, "ML_PORT": settings.ml_port}
    wanted |= {"MLFLOW_PORT": settings.mlflow_port} if settings.has_local_mlflow else {}
    wanted |= {"DEMO_PORT": settings.demo_port} if settings.demo_port and not settings.model_entries else {}
    for one, other in combinations(wanted, 2):
        if wanted[one] == wanted[other]:
            raise UserError(f"{one} and {other} are both {wanted[one]}: give one of them another")
    for variable, port in wanted.items():
        ports.check_available(settings.bind, port, variable)


def check_token(settings: CliSettings) -> None:
    """Raise `UserError` for a token that can be guessed: `serve` would not start with it."""
    try:
        if settings.token:
            operator_token.check_strength(settings.token)
    except ValueError as error:
        raise UserError(f"SLIPWAY_TOKEN {error}") from error


def start_services(settings: CliSettings, folder: Path, supervisor: Supervisor) -> None:
    """Start all services, each once those that it needs run."""
    environment = os.environ | {
        "SLIPWAY_HOME": str(folder),
        "VCS_PORT": str(settings.vcs_port),
        "ML_PORT": str(settings.ml_port),
        "PYTHONUNBUFFERED": "1",
    }
    mlflow_variables = mlflow_process.take_mlflow_variables(environment)
    operators = {name: environment.pop(name) for name in TOKEN_VARIABLES if name in environment}
    for_vcs = {
        name: environment.pop(name) for name in (*APP_VARIABLES, *RECEIVER_VARIABLES) if name in environment
    }
    for name in DATABASE_VARIABLES:
        environment.pop(name, None)
    credentials = folder / "database"
    url = settings.database_url or start_postgres(folder, supervisor, environment)
    migrating = {"DATABASE_URL": url, "SLIPWAY_CREDENTIALS": str(credentials)}
    migrating |= {"MLFLOW_TRACKING_URI": "own" if settings.has_local_mlflow else ""}
    supervisor.wait_for_exit(
        supervisor.start(python_program("migrate", "db.migrate", environment | migrating))
    )
    check_mode(url, "repository" if settings.model_entries else "demo")

    supervisor.run_until_success(python_program("singer", "vcs.install", environment))
    if load_settings(NotificationSettings).addresses:
        supervisor.run_until_success(python_program("notify", "vcs.notifications.install", environment))
    if settings.has_local_mlflow:
        own = database_environment("mlflow", credentials) | {"MLFLOW_PORT": str(settings.mlflow_port)}
        supervisor.supervise(python_program("mlflow", "mlflow_server", environment | own))
    if not settings.model_entries:
        demo_port = settings.demo_port or find_free_port()
        environment |= demo_environment(folder, demo_port, settings)
        supervisor.supervise(python_program("demo", "resources.demo", environment))
    for_serve = (
        operators | mlflow_process.serve_environment(settings) | database_environment("serve", credentials)
    )
    supervisor.supervise(python_program("serve", "ml", environment | for_serve))
    for_watch = mlflow_process.watch_environment(settings, folder, mlflow_variables) | database_environment(
        "watch", credentials
    )
    supervisor.supervise(python_program("watch", "ml.controller", environment | for_watch))
    for_vcs |= operators | database_environment("vcs", credentials)
    supervisor.supervise(python_program("vcs", "vcs", environment | for_vcs))


def python_program(name: str, module: str, environment: Mapping[str, str]) -> Program:
    return Program(name, (sys.executable, "-m", module), environment)


def database_environment(service: str, credentials: Path) -> dict[str, str]:
    """Return the file with a service's database address, as its own role; no other service gets it."""
    return {"DATABASE_URL_FILE": str(credentials / service / roles.URL_FILE)}


def start_postgres(folder: Path, supervisor: Supervisor, environment: Mapping[str, str]) -> str:
    """Start the appliance's own Postgres; return the address of the appliance's database in it."""
    postgres = Postgres(folder / "postgres")
    server = supervisor.supervise(
        Program("postgres", tuple(postgres.command), environment, signal.SIGINT, grace_seconds=10)
    )
    if (
        not supervisor.wait_until(lambda: postgres.is_ready() or server.has_ended, seconds=60)
        or server.has_ended
    ):
        raise UserError(f"Postgres does not start: {server.last_line}")
    databases.create(postgres.database_url(), DATABASE_NAME)
    return postgres.database_url(DATABASE_NAME)


def check_mode(url: str, mode: appliance.Mode) -> None:
    """Check that this database followed the same kind of repository so far; raises `UserError` otherwise."""
    made = create_sessionmaker(url)
    try:
        with made.begin() as session:
            appliance.set_mode(session, mode)
    except appliance.WrongDatabaseError as mismatch:
        raise UserError(str(mismatch)) from mismatch
    finally:
        made.kw["bind"].dispose()


def demo_environment(folder: Path, port: int, settings: CliSettings) -> dict[str, str]:
    """Return the variables by which services follow the demo: the addresses of its API and its repository.

    Its webhooks are signed with a secret of this start.
    """
    bypass = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1"]))
    return {
        "SLIPWAY_DEMO": "1",
        "SLIPWAY_DATA_SECONDS": os.environ.get("SLIPWAY_DATA_SECONDS") or "5",
        "SLIPWAY_MONITOR_SECONDS": os.environ.get("SLIPWAY_MONITOR_SECONDS") or "5",
        "SLIPWAY_REPOSITORY": "",
        "SLIPWAY_MODELS": str(write_demo_models(folder / "demo")),
        "DEMO_PORT": str(port),
        "GITHUB_API_URL": f"http://127.0.0.1:{port}",
        "GITHUB_TOKEN": "demo",
        "SLIPWAY_PUBLIC_URL": f"http://127.0.0.1:{settings.ml_port}",
        "DEMO_WEBHOOK_URL": f"http://127.0.0.1:{settings.vcs_port}/webhook",
        "SLIPWAY_WEBHOOK_SECRET": secrets.token_hex(),
        "NO_PROXY": bypass,
        "no_proxy": bypass,
    }


def write_demo_models(folder: Path) -> Path:
    """Write the models.toml of the demo: its model may be trained on what its users sent."""
    folder.mkdir(parents=True, exist_ok=True)
    file, new = folder / "models.toml", folder / "models.new"
    clone_url = (folder / "encyclopedia-visits.git").as_uri()
    name = DEMO_REPOSITORY.rpartition("/")[2]
    new.write_text(
        f'[{name}]\nrepository = "{DEMO_REPOSITORY}"\nclone_url = "{clone_url}"\nrecorded = true\n'
    )
    new.replace(file)
    return file


def list_pending_installs(settings: CliSettings, addresses: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each program that is still being installed."""
    if not is_healthy(addresses["vcs"]):
        yield "Singer is being installed (25 MB): merges and pushes are read once it is there."
    if settings.has_local_mlflow and not is_answering(settings.mlflow_url):
        yield "MLflow is being installed (190 MB): runs are exported once it is there."


def is_answering(url: str) -> bool:
    return fetch_health_status(url) is not None


def is_healthy(url: str) -> bool:
    return fetch_health_status(url) == 200


def fetch_health_status(url: str) -> int | None:
    """Return the status of a service's health; None where nothing responds in time."""
    try:
        with build_opener(ProxyHandler({})).open(f"{url}/health", timeout=1) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except (OSError, HTTPException):
        return None
