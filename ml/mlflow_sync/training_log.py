"""The target for what the model's own code logs while it trains: its release's run, or files."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from common.system import filelock
from db import appliance, mlflow_state
from db.mlflow_models import MlflowRun
from db.models import Release
from db.states import Trigger
from ml.mlflow_sync import rest
from ml.mlflow_sync.rest import MlflowApiError, MlflowRest
from ml.mlflow_sync.server import MlflowServer, MlflowUnavailableError
from ml.paths import HomeLayout
from ml.settings import MlSettings

RUN_WAIT_SECONDS = 3.0  # seconds for a run that is just being created; only code that has MLflow waits for it
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class TrainingLogTarget:
    """The MLflow variables in the environment of a training, and the port that it may connect to.

    `files_reason` is why logs go into files; it is empty where they do not. `admin` and `lock` are needed to
    revoke the password.
    """

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    server: MlflowServer | None = None
    files_reason: str = ""
    admin: MlflowServer | None = None
    lock: Path | None = None

    @property
    def ports(self) -> list[int]:
        return [self.server.port] if self.server else []

    def is_unavailable(self) -> bool:
        """Return True when a failure may be MLflow's fault: it does not answer now."""
        if self.server is None:
            return False
        try:
            with MlflowRest(self.server) as api:
                rest.check_available(api)
        except MlflowUnavailableError:
            return True
        except MlflowApiError:
            return False
        return False

    def revoke_access(self, model: str) -> None:
        """Revoke the training's password; while MLflow is unavailable, `ml.mlflow_sync` does that later."""
        if self.admin is None or self.lock is None:
            return
        with suppress(MlflowUnavailableError, MlflowApiError, OSError):
            change_password(self.admin, model, self.lock)


NO_LOGGING = TrainingLogTarget()


def open_log_target(
    settings: MlSettings, sessions: sessionmaker[Session], release: Release, lock: str, scratch: Path
) -> TrainingLogTarget:
    """Return the target for code whose environment, made from `lock`, has MLflow; none for other code."""
    if "mlflow" not in lock.lower():
        return NO_LOGGING
    if release.trigger is Trigger.CHECK:
        return log_to_files(scratch, "a check is not exported to MLflow")
    tracked = wait_for_run(settings, sessions, release.id)
    try:
        server = MlflowServer.from_settings(settings)
    except MlflowUnavailableError:
        server = None
    if not settings.tracking_uri:
        return log_to_files(scratch, "MLflow is off")
    if server is None or tracked is None:
        return log_to_files(scratch, "MLflow is unavailable")
    if not tracked.is_open:
        return log_to_files(scratch, "this MLflow has no user for the model's code")
    lock_file = HomeLayout(settings.home.absolute()).tracking_lock(release.model)
    return grant_access(server, release, tracked, lock_file, scratch)


def grant_access(
    admin: MlflowServer, release: Release, run: MlflowRun, lock: Path, scratch: Path
) -> TrainingLogTarget:
    """Return a target with a password of this training's alone, which its `revoke_access` voids."""
    try:
        code = change_password(admin, release.model, lock)
    except MlflowUnavailableError:
        return log_to_files(scratch, "MLflow is unavailable")
    except MlflowApiError:
        return log_to_files(scratch, "this MLflow gives the model's code no password")
    context = {"mlflow.parentRunId": run.run, "slipway.release": str(release.id)}
    return TrainingLogTarget(
        code.to_env()
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


def change_password(admin: MlflowServer, model: str, lock: Path) -> MlflowServer:
    """Give the model's code a password that it has not had before."""
    with filelock.acquire(lock), MlflowRest(admin) as api:
        return rest.change_password(api, model)


def log_to_files(scratch: Path, reason: str) -> TrainingLogTarget:
    """Return a target of files that are removed with the training: code that logs does not fail."""
    store = (scratch.resolve() / "mlruns").as_uri()
    # any other store would need more packages than mlflow-skinny has
    allowed = {"MLFLOW_ALLOW_FILE_STORE": "true"}
    variables = {"MLFLOW_TRACKING_URI": store, "MLFLOW_DISABLE_TELEMETRY": "true"} | allowed
    return TrainingLogTarget(variables, files_reason=reason)


def wait_for_run(settings: MlSettings, sessions: sessionmaker[Session], release: int) -> MlflowRun | None:
    """Return the release's run, when there is one soon."""
    deadline = time.monotonic() + (RUN_WAIT_SECONDS if settings.tracking_uri else 0)
    while True:
        with sessions.begin() as session:
            tracked = mlflow_state.find_run(session, release)
            is_unavailable = appliance.find_problem(session, "tracking") is not None
        if tracked is not None and tracked.run is not None:
            return tracked
        if is_unavailable or time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)
