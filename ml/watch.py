"""The look-out: sees merges, queues releases, starts builders; it never builds. `python -m ml.watch`."""

import signal
import subprocess
import sys
from datetime import UTC, datetime
from types import FrameType

from loguru import logger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.leash import LEASH
from db import pull_requests, releases
from db.lock import OnlyOne
from db.session import sessions
from db.wakeup import Wakeup
from ml import flock
from ml.home import Home
from ml.settings import Settings

LOOKED_AT = 200  # accepted pull requests between two looks; older ones are too old to be told of
GRACE = 5  # seconds a builder has to put its release back


class Lookout:
    """Each look is safe at any time, from any number of look-outs: what it does is decided in Postgres."""

    def __init__(self, settings: Settings, sessions: sessionmaker[Session]) -> None:
        self.settings, self.sessions = settings, sessions
        self.home = Home(settings.home.absolute())
        self.builders: dict[int, subprocess.Popen[bytes]] = {}

    def look(self) -> None:
        """One look at the database: put back what was cut off, queue what was merged, build what is due."""
        self.reap()
        self.put_back()
        self.queue()
        self.start_builders()

    def reap(self) -> None:
        for release, builder in list(self.builders.items()):
            if builder.poll() is not None:
                del self.builders[release]

    def put_back(self) -> None:
        """Releases that say `building` and that no living builder holds."""
        with self.sessions.begin() as session:
            for release in releases.building(session):
                if not flock.is_held(self.home.release(release.id) / "builder.lock"):
                    logger.warning("release {}: its builder is gone, it is put back", release.id)
                    releases.abandon(session, release)

    def queue(self) -> None:
        """The newest accepted pull request of each model, when it is unknown."""
        for model in self.settings.models():
            with self.sessions.begin() as session:
                merges = pull_requests.accepted(session, model.repository, model.branch, LOOKED_AT)
                release = releases.queue_merges(session, model.name, merges)
            if release:
                logger.info(
                    "#{} was merged into {}: release {} of {}, commit {}",
                    release.pull_request,
                    model.branch,
                    release.id,
                    model.name,
                    release.commit[:8],
                )

    def start_builders(self) -> None:
        """One release of a model at a time; models take turns by how long their release has waited."""
        with self.sessions.begin() as session:
            busy = {release.model for release in releases.building(session)}
            waiting = [releases.due(session, model.name) for model in self.settings.models()]
            models = [m.name for m in self.settings.models()]
        for model, release in sorted(zip(models, waiting, strict=True), key=lambda pair: pair[1] or 0):
            if release is None or model in busy or release in self.builders:
                continue
            if len(self.builders) >= self.settings.builds:
                return
            self.builders[release] = subprocess.Popen(
                [*LEASH, str(GRACE), "SIGTERM", sys.executable, "-m", "ml.pipeline", str(release)],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )

    def pause(self) -> float:
        """Seconds until the next look when nobody wakes us: what was put off may be due earlier."""
        with self.sessions.begin() as session:
            due = releases.next_due_at(session)
        if due is None:
            return self.settings.poll_seconds
        return min(self.settings.poll_seconds, max(0.2, (due - datetime.now(UTC)).total_seconds()))

    def stop(self) -> None:
        """Let go of the builders; each puts its release back."""
        for builder in self.builders.values():
            assert builder.stdin is not None
            builder.stdin.close()
        for builder in self.builders.values():
            builder.wait()


def main() -> None:
    settings = Settings()
    log.configure("watch", settings.log)
    stopping = False
    wakeup = Wakeup(settings.database_url, "pull_requests", "releases")

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        wakeup.wake()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGCHLD, lambda *_: wakeup.wake())

    only = OnlyOne(settings.database_url, "look-out")
    lookout = Lookout(settings, sessions(settings.database_url))
    names = ", ".join(model.name for model in settings.models()) or "nothing: SLIPWAY_REPOSITORY is not set"
    logger.info("looking for merges of {}, every {:g} s or when notified", names, settings.poll_seconds)
    at_work: bool | None = None
    while not stopping:
        pause = settings.poll_seconds
        if (held := only.held()) != at_work:
            at_work = held
            if not held:
                logger.warning("another look-out is at work, or Postgres is away: waiting")
        if held:
            try:
                lookout.look()
                pause = lookout.pause()
            except DBAPIError as error:
                logger.warning("Postgres is away, looking again soon: {}", str(error.orig).strip())
                pause = 1
        if not stopping:
            wakeup.wait(pause if held else min(pause, 2))
    lookout.stop()
    only.release()


if __name__ == "__main__":
    main()
