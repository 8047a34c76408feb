"""The look-out: sees merges, queues releases, starts builders; it never builds. `python -m ml.watch`."""

from collections.abc import Callable

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common import log
from common.settings import read
from common.stopping import Stopping
from db import appliance, claims, pull_requests, releases, scores
from db.lock import OnlyOne
from db.session import AWAY, describe, sessions
from db.wakeup import Wakeup
from ml import disk, flock, housekeeping
from ml.builders import Builders
from ml.home import Home
from ml.runner import measures
from ml.settings import Model, Settings

LOOKED_AT = 200  # accepted pull requests between two looks; older ones are too old to be told of


class Lookout:
    """Each look is safe at any time, from any number of look-outs: what it does is decided in Postgres."""

    def __init__(self, settings: Settings, sessions: sessionmaker[Session]) -> None:
        self.settings, self.sessions = settings, sessions
        self.home = Home(settings.home.absolute())
        self.builders = Builders()
        self.others = Builders()  # what builds nothing, and stands in nobody's way
        self.untidy = True  # something ended since the disk was last looked at
        self.shared_untidy = True  # the same of what builds share

    def look(self) -> None:
        """One look: put back what was cut off, queue what is new, build what is due, tidy up."""
        self.untidy |= self.builders.reap()
        self.keep_tracking()
        self.put_back()
        self.end_cancelled()
        self.for_each_model(self.queue_merges)
        self.for_each_model(self.look_for_tags)
        self.tidy()
        self.start_builders()
        self.start_scores()
        with self.sessions.begin() as session:
            appliance.looked(session)

    def for_each_model(self, step: Callable[[Model], None]) -> None:
        """Take one step for each model; what is wrong with one stops no other."""
        for model in self.settings.models():
            try:
                step(model)
            except (*AWAY, OSError):
                raise
            except Exception:  # noqa: BLE001 (a bug of ours must not stop the look-out)
                logger.exception("looking after {} broke", model.name)

    def keep_tracking(self) -> None:
        """MLflow is told by a process of its own, so that nothing here waits for it."""
        self.others.reap()
        if self.settings.tracking_uri and "tracking" not in self.others:
            self.others.start("tracking", "ml.tracking")

    def put_back(self) -> None:
        """Releases that say `building` and that no living builder holds."""
        with self.sessions.begin() as session:
            building = releases.building(session)
        for release in building:
            if not flock.is_held(self.home.release(release.id) / "builder.lock"):
                logger.warning("release {}: its builder is gone, it is put back", release.id)
                with self.sessions.begin() as session:
                    claims.abandon(session, release)

    def end_cancelled(self) -> None:
        """Builders whose release an operator has cancelled."""
        building = {number(name): name for name in self.builders.names() if name.startswith("release ")}
        if building:
            with self.sessions.begin() as session:
                for release in releases.cancelled(session, list(building)):
                    self.builders.end(building[release])

    def queue_merges(self, model: Model) -> None:
        """The newest accepted pull request of a model, when it is unknown."""
        with self.sessions.begin() as session:
            merges = pull_requests.accepted(session, model.repository, model.branch, LOOKED_AT)
            tied = releases.is_tied(session, model.name, merges)
            release = None if tied else releases.queue_merges(session, model.name, merges)
        if tied and f"order {model.name}" not in self.others:  # git knows, and may take its time
            self.others.start(f"order {model.name}", "ml.order", model.name)
        if release:
            logger.info(
                "#{} was merged into {}: release {} of {}, commit {}",
                release.pull_request,
                model.branch,
                release.id,
                model.name,
                release.commit[:8],
            )

    def look_for_tags(self, model: Model) -> None:
        """In a process of its own, for the models that are released on tags: git may take its time."""
        with self.sessions.begin() as session:
            on_tags = releases.releases_on(session, model.name) == "tag"
        if on_tags and f"tags {model.name}" not in self.others:
            self.others.start(f"tags {model.name}", "ml.tags", model.name)

    def start_builders(self) -> None:
        """One release of a model at a time; models take turns by how long their release has waited."""
        with self.sessions.begin() as session:
            busy = {release.model for release in releases.building(session)}
            waiting = [(releases.due(session, m.name), m.name) for m in self.settings.models()]
        for release, model in sorted((release, model) for release, model in waiting if release is not None):
            if model not in busy and f"release {release}" not in self.builders and self.has_room():
                self.builders.start(f"release {release}", "ml.pipeline", str(release))

    def start_scores(self) -> None:
        """Live releases that somebody wants scored again."""
        with self.sessions.begin() as session:
            waiting = [score.id for score in scores.waiting(session)]
        for score in waiting:
            if f"score {score}" not in self.builders and self.has_room():
                self.builders.start(f"score {score}", "ml.score", str(score))

    def has_room(self) -> bool:
        return len(self.builders.names()) < self.settings.builds

    def tidy(self) -> None:
        """Prune, and bring the disk to what is kept; what builds share, between them."""
        if self.untidy:
            self.tidy_models()
            self.untidy, self.shared_untidy = False, True
        if self.shared_untidy and not self.builders.names():
            with self.sessions.begin() as session:
                kept = releases.kept(session)
            housekeeping.sweep_shared(self.home, kept)
            self.shared_untidy = False

    def tidy_models(self) -> None:
        self.for_each_model(self.prune)
        with self.sessions.begin() as session:
            kept = releases.kept(session)
        housekeeping.sweep(self.home, kept)

    def prune(self, model: Model) -> None:
        with self.sessions.begin() as session:
            pruned = releases.prune(session, model.name, self.settings.keep)
        for release in pruned:
            logger.info("release {} of {} was pruned", release.id, model.name)

    def stop(self) -> None:
        """End what it has started, and wait until that is gone."""
        self.others.stop()
        self.builders.stop()

    def pause(self) -> float:
        """Seconds until the next look when nobody wakes us: what was put off may be due earlier."""
        with self.sessions.begin() as session:
            due = releases.next_due_in(session)
        if due is None:
            return self.settings.poll_seconds
        return min(self.settings.poll_seconds, max(0.2, due))


def number(name: str) -> int:
    """The release in the name of its builder."""
    return int(name.split()[1])


def main() -> None:
    settings = read(Settings)
    log.configure("watch", settings.log)
    measures.say(settings)
    wakeup = Wakeup(settings.database_url, "pull_requests", "releases")
    stopping = Stopping(wakeup.wake)
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
            except AWAY as error:
                logger.warning("Postgres is away, looking again soon: {}", describe(error))
                pause = 1
            except OSError as error:
                if error.errno not in disk.ERRORS:
                    raise
                logger.error("{}; looking again soon", disk.told(error, settings.home))
                pause = 5
            except Exception:  # noqa: BLE001 (a bug of ours must not end the look-out)
                logger.exception("the look broke; looking again soon")
                pause = 5
        if not stopping:
            wakeup.wait(pause if held else min(pause, 2))
    lookout.stop()
    only.release()


if __name__ == "__main__":
    main()
