"""The process that synchronises MLflow; the controller keeps it running: `python -m ml.mlflow_sync`.

It creates runs and polls the alias `prod` by quick calls. All else is exported by `ml.mlflow_sync.exporter`,
in a process of its own that runs while something is built or exported, so that MLflow's client is in memory
only then.
"""

import os
import time
from contextlib import suppress

import httpx
from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.settings import load_settings
from common.system import filelock
from common.system.child_processes import ChildProcesses
from common.system.shutdown import ShutdownFlag
from db import appliance, mlflow_state, releases
from db.leader import LeaderLock
from db.listener import NotificationListener
from db.session import DB_ERRORS, create_sessionmaker, describe_error
from ml.mlflow_sync import promotions, rest
from ml.mlflow_sync.rest import MlflowApiError, MlflowRest
from ml.mlflow_sync.runs import Runs
from ml.mlflow_sync.server import STARTING_MESSAGE, MlflowServer, MlflowUnavailableError
from ml.paths import HomeLayout
from ml.settings import MlSettings

RETRY_SECONDS = 2.0  # seconds between two attempts while MLflow is unavailable
# seconds: until its first answer, the appliance's own server is being set up; it starts when we do
STARTUP_SECONDS = 180.0
# seconds between two polls of `prod`: one costs 4 ms, and a promotion has to be live within 15 s
POLL_SECONDS = 5.0


class MlflowSync:
    """The synchronisation; each pass does what is due now, and the next one what is left."""

    def __init__(self, settings: MlSettings, sessions: sessionmaker[Session]) -> None:
        self.settings, self.sessions = settings, sessions
        self.exporters = ChildProcesses()
        self._api: MlflowRest | None = None
        self._runs: Runs | None = None
        self._started_at, self._has_answered = time.monotonic(), False

    def sync_once(self) -> bool:
        """Run one pass; return True when MLflow answered."""
        self.exporters.reap_ended()
        try:
            self._sync()
        except MlflowUnavailableError as error:
            self._disconnect(STARTING_MESSAGE if self._is_starting() else str(error))
            return False
        except MlflowApiError as error:
            self._disconnect(str(error))
            return False
        except (KeyError, TypeError, ValueError, httpx.InvalidURL) as error:  # no answer of an MLflow
            self._disconnect(f"the server there does not answer as MLflow does: {error!r}")
            return False
        self._has_answered = True
        self._report(None)
        return True

    def _sync(self) -> None:
        models = [model.name for model in self.settings.list_models()]
        if self._api is None or self._runs is None:
            server = MlflowServer.from_settings(self.settings)
            assert server is not None
            self._api = MlflowRest(server)
            self._runs = Runs(self._api, self.sessions, models)
        with self.sessions.begin() as session:
            running, busy = mlflow_state.list_unsynced(session, ended=False), releases.list_building(session)
            ended = mlflow_state.list_unsynced(session, ended=True)
            waiting = any(mlflow_state.is_out_of_sync(session, model) for model in models)
            with_access = mlflow_state.list_models_with_access(session)
        for model in with_access:
            self._revoke_password(self._api, model)
        for each in running + ended:  # only here: no two processes create the same run
            if each.mlflow_run is None or each.mlflow_run.run is None:
                self._runs.ensure_run(each.release)
        if ended or waiting or busy:
            rest.check_available(self._api)
            if "tell" not in self.exporters:
                self.exporters.start("tell", "ml.mlflow_sync.exporter")
        unsynced = {each.release.model for each in ended}
        for model in models:
            if model not in unsynced:
                promotions.follow_alias(self._api, self.sessions, model)

    def _revoke_password(self, api: MlflowRest, model: str) -> None:
        """Revoke the password that a training left, whose builder was killed or found MLflow unavailable.

        It holds the lock and checks again: a build that starts meanwhile gets its own password after that.
        """
        with filelock.acquire(HomeLayout(self.settings.home.absolute()).tracking_lock(model)):
            with self.sessions.begin() as session:
                if model not in mlflow_state.list_models_with_access(session):
                    return
            with suppress(MlflowApiError):  # no such user: there is nothing to revoke
                rest.change_password(api, model)
            with self.sessions.begin() as session:
                mlflow_state.close_access(session, model)

    def _is_starting(self) -> bool:
        is_own = self.settings.tracking_password_path is not None
        return is_own and not self._has_answered and time.monotonic() - self._started_at < STARTUP_SECONDS

    def _disconnect(self, error: str) -> None:
        """Disconnect, and reconnect at the next pass: the password may have changed."""
        if self._api is not None:
            self._api.close()
        self._api = self._runs = None
        self._report(error)

    def _report(self, error: str | None) -> None:
        with self.sessions.begin() as session:
            news = appliance.set_problem(session, "tracking", error)
        if news and error:
            level = "INFO" if error == STARTING_MESSAGE else "WARNING"
            logger.log(level, "{}; nothing else is affected, and the export is retried", error)
        elif news:
            logger.info("MLflow answers again: the export continues")


def main() -> None:
    settings = load_settings(MlSettings)
    log.configure("track", settings.log)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # of the client in the exporter
    wakeup = NotificationListener(settings.database_url, "tracking", "releases", "live")
    stopping = ShutdownFlag(wakeup.wake)
    leader_lock = LeaderLock(settings.database_url, "tracking")
    HomeLayout(settings.home.absolute()).former_code_key.unlink(missing_ok=True)
    sync = MlflowSync(settings, create_sessionmaker(settings.database_url))
    while not stopping:
        pause = 1.0
        try:
            if leader_lock.acquire():
                pause = min(POLL_SECONDS if sync.sync_once() else RETRY_SECONDS, settings.poll_seconds)
            else:
                sync.exporters.stop()
        except DB_ERRORS as error:
            logger.debug("Postgres is unavailable: {}", describe_error(error))
        if not stopping:
            wakeup.wait(pause)
    sync.exporters.stop()
    leader_lock.release()


if __name__ == "__main__":
    main()
