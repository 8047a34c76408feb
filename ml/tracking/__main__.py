"""Keeps MLflow told, and listens to it; the look-out keeps this running. `python -m ml.tracking`

It makes runs and looks where `prod` is by quick calls. All else is told by `ml.tracking.tell`, in a process
of its own that is there while something is built or told, so that MLflow's client is in memory only then.
"""

import os
import time
from contextlib import suppress

import httpx
from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.settings import read
from common.stopping import Stopping
from db import appliance, releases, tracking
from db.lock import OnlyOne
from db.session import AWAY, describe, sessions
from db.wakeup import Wakeup
from ml import flock
from ml.builders import Builders
from ml.home import Home
from ml.settings import Settings
from ml.tracking import calls, promotions
from ml.tracking.calls import Calls, Said
from ml.tracking.runs import Runs
from ml.tracking.server import SET_UP, Away, Server

SOON = 2.0  # seconds between two tries while MLflow is away
FIRST = 180.0  # until it answers once, the appliance's own server is being set up; it starts when we do
OFTEN = 5.0  # between two looks at `prod`: one costs 4 ms, and a promotion has to be live within 15 s


class Tracker:
    """Each look does what is to be done now; what is left is seen at the next one."""

    def __init__(self, settings: Settings, sessions: sessionmaker[Session]) -> None:
        self.settings, self.sessions = settings, sessions
        self.telling = Builders()
        self._calls: Calls | None = None
        self._runs: Runs | None = None
        self._began, self._has_answered = time.monotonic(), False

    def look(self) -> bool:
        """One look; whether MLflow answered."""
        self.telling.reap()
        try:
            self._work()
        except Away as away:
            self._anew(SET_UP if self._is_starting() else str(away))
            return False
        except Said as trouble:
            self._anew(str(trouble))
            return False
        except (KeyError, TypeError, ValueError, httpx.InvalidURL) as error:  # it speaks as no MLflow does
            self._anew(f"what answers there is no MLflow that we know: {error!r}")
            return False
        self._has_answered = True
        self._say(None)
        return True

    def _work(self) -> None:
        models = [model.name for model in self.settings.models()]
        if self._calls is None or self._runs is None:
            server = Server.of(self.settings)
            assert server is not None
            self._calls = Calls(server)
            self._runs = Runs(self._calls, self.sessions, models)
        with self.sessions.begin() as session:
            begun, busy = tracking.untold(session, ended=False), releases.building(session)
            ended = tracking.untold(session, ended=True)
            waiting = any(tracking.is_waiting(session, model) for model in models)
            still_open = tracking.still_open(session)
        for model in still_open:
            self._shut_out(self._calls, model)
        for each in begun + ended:  # here alone: no two processes make one
            if each.tracked is None or each.tracked.run is None:
                self._runs.begin(each.release)
        if ended or waiting or busy:
            calls.ping(self._calls)
            if "tell" not in self.telling:
                self.telling.start("tell", "ml.tracking.tell")
        untold = {each.release.model for each in ended}
        for model in models:
            if model not in untold:
                promotions.look(self._calls, self.sessions, model)

    def _shut_out(self, made: Calls, model: str) -> None:
        """Make the password void that a training left, whose builder was killed or found MLflow away.

        Under the lock, and after another look: what begins to build meanwhile gets its own after that.
        """
        with flock.hold(Home(self.settings.home.absolute()).tracking_lock(model)):
            with self.sessions.begin() as session:
                if model not in tracking.still_open(session):
                    return
            with suppress(Said):  # no such user: there is nothing to take away
                calls.change_password(made, model)
            with self.sessions.begin() as session:
                tracking.close(session, model)

    def _is_starting(self) -> bool:
        is_own = self.settings.tracking_password_path is not None
        return is_own and not self._has_answered and time.monotonic() - self._began < FIRST

    def _anew(self, trouble: str) -> None:
        """Connect again at the next look: its password may have changed."""
        if self._calls is not None:
            self._calls.close()
        self._calls = self._runs = None
        self._say(trouble)

    def _say(self, trouble: str | None) -> None:
        with self.sessions.begin() as session:
            news = appliance.says(session, "tracking", trouble)
        if news and trouble:
            level = "INFO" if trouble == SET_UP else "WARNING"
            logger.log(level, "{}; all else goes on, and it is told later", trouble)
        elif news:
            logger.info("MLflow answers again: it is told what it has missed")


def main() -> None:
    settings = read(Settings)
    log.configure("track", settings.log)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # of the client in `tell`
    wakeup = Wakeup(settings.database_url, "tracking", "releases", "live")
    stopping = Stopping(wakeup.wake)
    only = OnlyOne(settings.database_url, "tracking")
    Home(settings.home.absolute()).former_code_key.unlink(missing_ok=True)
    tracker = Tracker(settings, sessions(settings.database_url))
    while not stopping:
        pause = 1.0
        try:
            if only.held():
                pause = min(OFTEN if tracker.look() else SOON, settings.poll_seconds)
            else:
                tracker.telling.stop()
        except AWAY as error:
            logger.debug("Postgres is away: {}", describe(error))
        if not stopping:
            wakeup.wait(pause)
    tracker.telling.stop()
    only.release()


if __name__ == "__main__":
    main()
