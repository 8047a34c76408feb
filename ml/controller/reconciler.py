"""The controller: detects merges, queues releases, starts builders; it never builds."""

import time
from collections.abc import Callable

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from common.system import filelock
from common.system.child_processes import ChildProcesses
from db import (
    appliance,
    claims,
    deployments,
    merge_groups,
    newest,
    pull_requests,
    release_queue,
    releases,
    retraining_plans,
    retrainings,
    scores,
)
from db.merge_groups import QueueUse
from db.models import Release
from db.session import DB_ERRORS
from db.states import Trigger
from ml.controller import checks, queue_polling, retraining, schedule
from ml.controller.collection import GarbageCollection
from ml.controller.disk_watch import DiskWatch
from ml.controller.monitoring import MonitorSchedule
from ml.controller.queue_polling import WITH_QUEUE, LastListing
from ml.controller.request_log import LogUpkeep
from ml.controller.schedule import Build
from ml.paths import HomeLayout
from ml.settings import MlSettings, ModelConfig

BUILDER = "ml.builder.pipeline"
NEW = 60.0  # seconds between two checks of the branch of a model that has no release
MAX_MERGES = 200  # accepted pull requests between two reconciliations; older ones are too old to be reported


class Reconciler:
    """The controller of the appliance.

    A reconciliation is safe at any time, from any number of controllers: decisions are made in Postgres.
    """

    def __init__(self, settings: MlSettings, sessions: sessionmaker[Session]) -> None:
        self.settings, self.sessions = settings, sessions
        self.home = HomeLayout(settings.home.absolute())
        self.builders = ChildProcesses()
        self.daemons = ChildProcesses()  # processes that build nothing and take no slot
        self.started_at = time.monotonic()
        self.new_model_due: dict[str, float] = {}  # by model: when one without a release is checked
        self.queue_listings: dict[str, LastListing] = {}  # by model: the last one of its merge queue
        self.garbage = GarbageCollection(settings, sessions, self.home)
        self.disk = DiskWatch(sessions, self.home.root)
        self.request_log = LogUpkeep(sessions, settings.record_days, settings.record_bytes)
        self.monitor = MonitorSchedule(sessions, settings.monitor_seconds) if settings.monitor else None
        self.needs_mlflow_forgotten = not settings.tracking_uri  # a problem of an MLflow that was there

    def reconcile(self) -> None:
        """Reconcile once: requeue what was cut off, queue what is new, collect garbage, build what is due."""
        self.reap_children()
        self.ensure_mlflow_sync()
        self.requeue_orphaned()
        self.report_unfollowed()
        self.for_each_model(self.queue_merges)
        self.for_each_model(self.check_pushes)
        self.for_each_model(self.check_tags)
        self.for_each_model(self.queue_checks)
        self.for_each_model(self.check_merge_queue)
        self.plan_retrainings()
        self.stop_ended()
        self.request_log.maintain()
        self.start_monitor()
        self.collect_garbage()
        self.disk.check()
        self.start_builders()
        self.start_scores()
        self.start_retrainings()
        with self.sessions.begin() as session:
            appliance.record_heartbeat(session)

    def for_each_model(self, step: Callable[[ModelConfig], None]) -> None:
        """Take one step for each model; an error of one stops no other."""
        for model in self.settings.list_models():
            try:
                step(model)
            except (*DB_ERRORS, OSError):
                raise
            except Exception:  # noqa: BLE001 (a bug of ours must not stop the controller)
                logger.exception("reconciling {} broke", model.name)

    def stand_by(self) -> None:
        """Keep nothing ready for work while another controller is the leader; what runs is left to end."""
        self.reap_children()
        self.builders.end_spare()

    def reap_children(self) -> None:
        """Remove the children that ended; a build may have left files."""
        self.garbage.is_due |= bool(self.builders.reap_ended())
        retraining.record_died_checks(self.sessions, self.daemons.reap_ended(), self.settings.data_seconds)

    def ensure_mlflow_sync(self) -> None:
        """Start the process that exports to MLflow, so that nothing here waits for it."""
        if self.needs_mlflow_forgotten:
            with self.sessions.begin() as session:
                appliance.set_problem(session, "tracking", None)
            self.needs_mlflow_forgotten = False
        if self.settings.tracking_uri and "tracking" not in self.daemons:
            self.daemons.start("tracking", "ml.mlflow_sync")

    def report_unfollowed(self) -> None:
        """Report releases of models that are no longer configured: nobody builds them."""
        followed = [model.name for model in self.settings.list_models()]
        with self.sessions.begin() as session:
            checks.end_unfollowed(session, followed)
            deployments.show_unfollowed(session, followed)
            waiting = release_queue.mark_unfollowed(session, followed)
        for release in waiting:
            logger.warning("release {} of {} waits: {}", release.id, release.model, release.reason)

    def requeue_orphaned(self) -> None:
        """Requeue releases in status `building` that no living builder has locked."""
        with self.sessions.begin() as session:
            building = releases.list_building(session)
        for release in building:
            if not filelock.is_locked(self.home.release_path(release.id) / "builder.lock"):
                logger.warning("release {}: its builder is gone, it is requeued", release.id)
                with self.sessions.begin() as session:
                    claims.requeue_orphaned(session, release)

    def stop_ended(self) -> None:
        """Stop the builders of releases that an operator has cancelled, or that nobody waits for any more."""
        building = {
            parse_number(name): name for name in self.builders.list_names() if name.startswith("release ")
        }
        if building:
            with self.sessions.begin() as session:
                for release in release_queue.find_ended(session, list(building)):
                    self.builders.stop_child(building[release])

    def queue_checks(self, model: ModelConfig) -> None:
        """Queue a check of each open pull request that needs one, or for which GitHub asks."""
        with self.sessions.begin() as session:
            checks.queue_checks(session, model)
            checks.queue_requested(session, model)

    def check_merge_queue(self, model: ModelConfig) -> None:
        """Start a process that lists the merge queue of a model at GitHub, where that is due."""
        use = self.find_due_queue(model)
        if use is not None:
            self.start_listing("queue", "ml.controller.merge_groups", model, use)

    def find_due_queue(self, model: ModelConfig) -> QueueUse | None:
        """Return the use of a model's merge queue when that may have changed, and no process may list it."""
        is_listed = any(f"{kind} {model.name}" in self.daemons for kind in ("queue", "tags", "pushes"))
        if is_listed or not (model.has_pull_requests and model.checks.on):
            return None
        with self.sessions.begin() as session:
            use = merge_groups.find_use(session, model.name, model.repository, model.branch)
        last = self.queue_listings.get(model.name)
        return use if queue_polling.is_due(use, last, time.monotonic()) else None

    def start_listing(self, kind: str, module: str, model: ModelConfig, use: QueueUse | None) -> None:
        """Start a process that asks the git server; where the merge queue is due, for that as well."""
        name, more = f"{kind} {model.name}", (WITH_QUEUE,) if use else ()
        self.daemons.start(name, module, model.name, *more)
        if use and name in self.daemons:
            self.queue_listings[model.name] = LastListing(time.monotonic(), use.told_at)

    def queue_merges(self, model: ModelConfig) -> None:
        """Queue the newest accepted change of a model, when it has no release yet."""
        with self.sessions.begin() as session:
            if model.has_pull_requests and release_queue.find_release_trigger(session, model.name) == "push":
                return  # its merges are among its pushes
            merges = pull_requests.list_accepted(session, model.repository, model.branch, MAX_MERGES)
            tied = release_queue.is_tied(session, model.name, merges)
            trigger = Trigger.MERGE if model.has_pull_requests else Trigger.PUSH
            ends = model.is_whole_repository
            release = (
                None
                if tied
                else release_queue.queue_merges(session, model.name, merges, trigger, ends_retrainings=ends)
            )
        if tied and f"order {model.name}" not in self.daemons:  # git can determine it, and may take its time
            self.daemons.start(f"order {model.name}", "ml.controller.merge_order", model.name)
        if release:
            logger.info(
                "{} into {}: release {} of {}, commit {}",
                newest.describe_arrival(release),
                model.branch,
                release.id,
                model.name,
                release.commit[:8],
            )

    def check_pushes(self, model: ModelConfig) -> None:
        """Start the same check for GitHub models that release on push; one without a release may be one."""
        if not model.has_pull_requests or f"pushes {model.name}" in self.daemons:
            return
        with self.sessions.begin() as session:
            on_pushes = release_queue.find_release_trigger(session, model.name) == "push"
            is_new = not on_pushes and release_queue.find_newest_change(session, model.name) is None
        if on_pushes or (
            is_new and time.monotonic() > self.new_model_due.get(model.name, self.started_at + NEW)
        ):
            self.new_model_due[model.name] = time.monotonic() + NEW
            self.start_listing("pushes", "ml.controller.pushes", model, self.find_due_queue(model))

    def check_tags(self, model: ModelConfig) -> None:
        """Start a process that checks the tags of a model that is released on tags: git may take its time."""
        with self.sessions.begin() as session:
            on_tags = release_queue.find_release_trigger(session, model.name) == "tag"
        if on_tags and f"tags {model.name}" not in self.daemons:
            self.start_listing("tags", "ml.controller.tags", model, self.find_due_queue(model))

    def plan_retrainings(self) -> None:
        """Record the retrainings that are due, and have data looked at that may have changed."""
        with self.sessions.begin() as session:
            live = retraining_plans.list_live(session, [model.name for model in self.settings.list_models()])

        def plan(model: ModelConfig) -> None:
            if (served := live.get(model.name)) is None:
                return
            if retraining.plan_model(self.sessions, model, served, self.settings.data_seconds):
                self.start_daemon(f"data {model.name}", "ml.controller.data_check", model.name)

        self.for_each_model(plan)

    def start_monitor(self) -> None:
        """Start the process that measures what is live, where that is due."""
        models = [model.name for model in self.settings.list_models()]
        if self.monitor and "monitor" not in self.daemons and self.monitor.is_due(models):
            self.daemons.start("monitor", "ml.monitor")

    def start_daemon(self, name: str, module: str, *arguments: str) -> None:
        """Start a process that may take its time, unless it runs already."""
        if name not in self.daemons:
            self.daemons.start(name, module, *arguments)

    def start_builders(self) -> None:
        """Start builders, and put checks back whose place a change takes."""
        with self.sessions.begin() as session:
            running = [to_build(release) for release in releases.list_building(session)]
            due = [release_queue.find_due(session, model.name) for model in self.settings.list_models()]
        waiting = [to_build(release) for release in due if release is not None]
        waiting = [build for build in waiting if f"release {build.release}" not in self.builders]
        occupied = len(self.builders.list_names())
        planned = schedule.plan_builds(waiting, running, self.settings.builds, occupied)
        for check in planned.interrupt:
            if (name := f"release {check.release}") in self.builders:
                logger.info("check {} of {} makes room for a change", check.release, check.model)
                self.builders.stop_child(name)
        for build in planned.start:
            self.builders.start(f"release {build.release}", BUILDER, str(build.release))

    def prepare_builder(self) -> None:
        """Start a builder for a change that `vcs` is about to store, so that its imports are done by then."""
        if self.has_free_slot():
            self.builders.prepare(BUILDER)

    def start_scores(self) -> None:
        """Start the scoring of live releases for which it was requested."""
        with self.sessions.begin() as session:
            waiting = [score.id for score in scores.list_queued(session)]
        for score in waiting:
            if f"score {score}" not in self.builders and self.has_free_slot():
                self.builders.start(f"score {score}", "ml.builder.rescore", str(score))

    def start_retrainings(self) -> None:
        """Start the comparison of retrainings that wait with what is live, which queues their releases.

        One that waits no longer, as it is paused or something was merged, gives its place to others.
        """
        with self.sessions.begin() as session:
            waiting = retrainings.list_waiting(session, [model.name for model in self.settings.list_models()])
        for name in self.builders.list_names():
            if name.startswith("retraining ") and parse_number(name) not in waiting:
                self.builders.stop_child(name)
        for number in waiting:
            if f"retraining {number}" not in self.builders and self.has_free_slot():
                self.builders.start(f"retraining {number}", "ml.builder.retrain", str(number))

    def has_free_slot(self) -> bool:
        return len(self.builders.list_names()) < self.settings.builds

    def collect_garbage(self) -> None:
        """Prune releases and sweep the disk."""
        is_building = bool(self.builders.list_names())
        if (
            self.garbage.collect(self.for_each_model, is_building=is_building)
            and "packages" not in self.daemons
        ):
            self.daemons.start("packages", "ml.controller.package_caches")

    def stop(self) -> None:
        """Stop every child process, and wait until it is gone."""
        self.daemons.stop()
        self.builders.stop()

    def next_pause_seconds(self) -> float:
        """Return the seconds until the next reconciliation when nothing wakes it.

        A deferred release may be due before the poll interval has passed.
        """
        with self.sessions.begin() as session:
            due = release_queue.seconds_until_due(session)
        if due is None:
            return self.settings.poll_seconds
        return min(self.settings.poll_seconds, max(0.2, due))


def to_build(release: Release) -> Build:
    return Build(release.id, release.model, release.trigger is Trigger.CHECK)


def parse_number(name: str) -> int:
    """Return the release, or the retraining, in the name of its builder."""
    return int(name.split()[1])
