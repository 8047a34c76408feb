"""The appliance without Docker: the same processes as the compose file's, as children of this one."""

import os
import signal
import sys
from collections.abc import Mapping
from http.client import HTTPException
from itertools import combinations
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from cli import home, ports, tracking
from cli.console import Console
from cli.errors import Trouble
from cli.postgres import Postgres
from cli.settings import Settings
from cli.supervisor import OURS, Asked, Program, Supervisor
from cli.welcome import welcome
from common import closed, token
from common.ports import free
from db import appliance, databases, roles
from db.session import sessions

OWN_DATABASE = "slipway"
DATABASE = ("DATABASE_URL", "DATABASE_URL_FILE")  # as its owner: what migrates alone has to know
TOKEN = ("SLIPWAY_TOKEN", "SLIPWAY_TOKEN_FILE")  # what no other than serve and vcs have to know
DEMO = "demo/encyclopedia-visits"


def up(settings: Settings) -> None:
    """Run the appliance until somebody asks it to end; `Trouble` when it cannot start."""
    closed.close()
    settings.followed  # noqa: B018 (what is wrong with models.toml is said before anything is made)
    folder = settings.home.absolute()
    home.prepare(folder)
    # what is in it is safe for several; the Postgres and the demo that would be started in it are not
    held = home.lock(folder, shared=bool(settings.database_url and settings.followed))
    check_ports(settings)
    check_token(settings)

    first = not settings.token and not token.path(folder).exists()
    console = Console(folder / "logs")
    supervisor = Supervisor(console, held)
    try:
        begin(settings, folder, supervisor)
        if supervisor.wait(lambda: answers(settings.vcs_url) and answers(settings.serve_url), seconds=120):
            console.block(welcome(settings, folder, token.kept(folder) if first else None))
        else:
            console.say(OURS, f"{settings.vcs_url} or {settings.serve_url} does not answer: see above why")
        supervisor.stay()
    except Asked:
        console.say(OURS, "ending; once more to hurry")
    finally:
        supervisor.end(last="postgres")


def check_ports(settings: Settings) -> None:
    """`Trouble` when two are the same, or one is taken."""
    wanted = {"VCS_PORT": settings.vcs_port, "ML_PORT": settings.ml_port}
    wanted |= {"MLFLOW_PORT": settings.mlflow_port} if settings.own_mlflow else {}
    for one, other in combinations(wanted, 2):
        if wanted[one] == wanted[other]:
            raise Trouble(f"{one} and {other} are both {wanted[one]}: give one of them another")
    for variable, port in wanted.items():
        ports.check(settings.bind, port, variable)


def check_token(settings: Settings) -> None:
    """`Trouble` when it can be guessed: `serve` would not start with it."""
    try:
        if settings.token:
            token.check(settings.token)
    except ValueError as error:
        raise Trouble(f"SLIPWAY_TOKEN {error}") from error


def begin(settings: Settings, folder: Path, supervisor: Supervisor) -> None:
    """Start everything, each thing once what it needs is there."""
    environment = os.environ | {
        "SLIPWAY_HOME": str(folder),
        "VCS_PORT": str(settings.vcs_port),
        "ML_PORT": str(settings.ml_port),
        "PYTHONUNBUFFERED": "1",
    }
    said = tracking.split(environment)
    operators = {name: environment.pop(name) for name in TOKEN if name in environment}
    for name in DATABASE:
        environment.pop(name, None)
    credentials = folder / "database"
    url = settings.database_url or start_postgres(folder, supervisor, environment)
    migrating = {"DATABASE_URL": url, "SLIPWAY_CREDENTIALS": str(credentials)}
    migrating |= {"MLFLOW_TRACKING_URI": "own" if settings.own_mlflow else ""}
    supervisor.finish(supervisor.begin(python("migrate", "db.migrate", environment | migrating)))
    follow(url, "repository" if settings.followed else "demo")

    singer = supervisor.begin(python("singer", "vcs.install", environment))
    if settings.own_mlflow:
        own = address_of("mlflow", credentials) | {"MLFLOW_PORT": str(settings.mlflow_port)}
        supervisor.keep(python("mlflow", "tracker", environment | own))
    if not settings.followed:
        environment |= stand_in(folder, free())
        supervisor.keep(python("demo", "resources.demo", environment))
    for_serve = operators | tracking.for_serve(settings) | address_of("serve", credentials)
    supervisor.keep(python("serve", "ml", environment | for_serve))
    for_watch = tracking.for_watch(settings, folder, said) | address_of("watch", credentials)
    supervisor.keep(python("watch", "ml.watch", environment | for_watch))
    supervisor.finish(singer)
    supervisor.keep(python("vcs", "vcs", environment | operators | address_of("vcs", credentials)))


def python(name: str, module: str, environment: Mapping[str, str]) -> Program:
    return Program(name, (sys.executable, "-m", module), environment)


def address_of(service: str, credentials: Path) -> dict[str, str]:
    """Say where a service finds the database's address, as its own role; no other service gets it."""
    return {"DATABASE_URL_FILE": str(credentials / service / roles.FILE)}


def start_postgres(folder: Path, supervisor: Supervisor, environment: Mapping[str, str]) -> str:
    """Start the appliance's own Postgres; the address of the appliance's database in it."""
    postgres = Postgres(folder / "postgres")
    server = supervisor.keep(
        Program("postgres", tuple(postgres.command), environment, signal.SIGINT, grace=10)
    )
    if not supervisor.wait(lambda: postgres.ready() or server.over, seconds=60) or server.over:
        raise Trouble(f"Postgres does not start: {server.last_line}")
    databases.create(postgres.url(), OWN_DATABASE)
    return postgres.url(OWN_DATABASE)


def follow(url: str, mode: appliance.Mode) -> None:
    """Hold this database to what it has followed so far."""
    made = sessions(url)
    try:
        with made.begin() as session:
            appliance.follow(session, mode)
    except appliance.Mismatch as mismatch:
        raise Trouble(str(mismatch)) from mismatch
    finally:
        made.kw["bind"].dispose()


def stand_in(folder: Path, port: int) -> dict[str, str]:
    """What makes the others follow the demo: where its API is, and where its repository."""
    bypass = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1"]))
    return {
        "SLIPWAY_DEMO": "1",
        "SLIPWAY_REPOSITORY": DEMO,
        "SLIPWAY_CLONE_URL": (folder / "demo" / "encyclopedia-visits.git").as_uri(),
        "DEMO_PORT": str(port),
        "GITHUB_API_URL": f"http://127.0.0.1:{port}",
        "GITHUB_TOKEN": "demo",
        "NO_PROXY": bypass,
        "no_proxy": bypass,
    }


def answers(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(f"{url}/health", timeout=1):
            return True
    except (OSError, HTTPException):  # refused, too slow, or not 200
        return False
