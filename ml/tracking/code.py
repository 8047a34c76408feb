"""What the model's own code logs while it trains: below its release's run, or into files beside."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from db import appliance, tracking
from db.models import Release, Tracked
from ml import flock
from ml.home import Home
from ml.settings import Settings
from ml.tracking import calls
from ml.tracking.calls import Calls, Said
from ml.tracking.server import Away, Server

PATIENT = 3.0  # seconds for a run that is just being made; only code that has MLflow waits for it
LOOK = 0.05


@dataclass(frozen=True)
class Logging:
    """What MLflow finds in the environment of a training, and the port that it may connect to.

    `aside` says why what is logged goes into files; it is empty where it does not. `admin` and `lock` are
    what takes the password away again.
    """

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    server: Server | None = None
    aside: str = ""
    admin: Server | None = None
    lock: Path | None = None

    @property
    def ports(self) -> list[int]:
        return [self.server.port] if self.server else []

    def is_away(self) -> bool:
        """Whether what went wrong may be MLflow's fault: it does not answer now."""
        if self.server is None:
            return False
        try:
            with Calls(self.server) as made:
                calls.ping(made)
        except Away:
            return True
        except Said:
            return False
        return False

    def end(self, model: str) -> None:
        """Make the password that the training had void. While MLflow is away, its tracker does that later."""
        if self.admin is None or self.lock is None:
            return
        with suppress(Away, Said, OSError):
            change_password(self.admin, model, self.lock)


NOWHERE = Logging()


def logging(
    settings: Settings, sessions: sessionmaker[Session], release: Release, lock: str, scratch: Path
) -> Logging:
    """For code whose environment, made from `lock`, has MLflow; nothing for other code."""
    if "mlflow" not in lock.lower():
        return NOWHERE
    tracked = run_of(settings, sessions, release.id)
    try:
        server = Server.of(settings)
    except Away:
        server = None
    if not settings.tracking_uri:
        return aside(scratch, "MLflow is off")
    if server is None or tracked is None:
        return aside(scratch, "MLflow is away")
    if not tracked.is_open:
        return aside(scratch, "this MLflow has no user for the model's code")
    lock_file = Home(settings.home.absolute()).tracking_lock(release.model)
    return let_in(server, release, tracked, lock_file, scratch)


def let_in(admin: Server, release: Release, run: Tracked, lock: Path, scratch: Path) -> Logging:
    """With a password of this training's alone; its `end` makes that void."""
    try:
        code = change_password(admin, release.model, lock)
    except Away:
        return aside(scratch, "MLflow is away")
    except Said:
        return aside(scratch, "this MLflow gives the model's code no password")
    context = {"mlflow.parentRunId": run.run, "slipway.release": str(release.id)}
    return Logging(
        code.variables()
        | {
            "MLFLOW_EXPERIMENT_NAME": release.model,
            "MLFLOW_RUN_CONTEXT": json.dumps(context),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        code,
        admin=admin,
        lock=lock,
    )


def change_password(admin: Server, model: str, lock: Path) -> Server:
    """Give the model's code a password that it has not had before."""
    with flock.hold(lock), Calls(admin) as made:
        return calls.change_password(made, model)


def aside(scratch: Path, why: str) -> Logging:
    """Into files that go with the training: what logs does not fail for having nowhere to log to."""
    store = (scratch.resolve() / "mlruns").as_uri()
    allowed = {"MLFLOW_ALLOW_FILE_STORE": "true"}  # all else would need more packages than mlflow-skinny has
    variables = {"MLFLOW_TRACKING_URI": store, "MLFLOW_DISABLE_TELEMETRY": "true"} | allowed
    return Logging(variables, aside=why)


def run_of(settings: Settings, sessions: sessionmaker[Session], release: int) -> Tracked | None:
    """The release's run, when there is one soon."""
    until = time.monotonic() + (PATIENT if settings.tracking_uri else 0)
    while True:
        with sessions.begin() as session:
            tracked = tracking.of(session, release)
            away = appliance.trouble(session, "tracking") is not None
        if tracked is not None and tracked.run is not None:
            return tracked
        if away or time.monotonic() > until:
            return None
        time.sleep(LOOK)
