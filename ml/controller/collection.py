"""When releases are pruned, and the disk is swept of what they left."""

import time
from collections.abc import Callable

from sqlalchemy.orm import Session, sessionmaker

from db import releases, retraining_pruning
from ml.controller import checks, gc, package_caches, pruning
from ml.paths import HomeLayout
from ml.settings import MlSettings, ModelConfig

PRUNE_SECONDS = 60.0  # between two prunings while no build ends

ForEachModel = Callable[[Callable[[ModelConfig], None]], None]


class GarbageCollection:
    """Prunes each minute; sweeps the disk only where something was pruned, or a build ended."""

    def __init__(self, settings: MlSettings, sessions: sessionmaker[Session], home: HomeLayout) -> None:
        self.settings, self.sessions, self.home = settings, sessions, home
        self.is_due = True  # a build ended, or a release was pruned, since the last one
        self.is_shared_due = True  # the same for what builds share
        self.prune_due = 0.0  # by the monotonic clock: when releases are pruned without any end
        self.pruned_count = 0  # releases that were pruned, by the last collection

    def collect(self, for_each_model: ForEachModel, *, is_building: bool) -> bool:
        """Prune releases and sweep the disk; sweep what builds share only while none runs.

        Return whether the caches of packages are to be pruned as well.
        """
        if self.is_due or time.monotonic() >= self.prune_due:
            self.prune_due = time.monotonic() + PRUNE_SECONDS
            self._prune(for_each_model)
        if self.is_due:
            with self.sessions.begin() as session:
                retained = releases.list_with_files(session)
            gc.sweep_releases(self.home, retained)
            self.is_due, self.is_shared_due = False, True
        if not self.is_shared_due or is_building:
            return False
        with self.sessions.begin() as session:
            retained = releases.list_with_files(session)
        gc.sweep_shared(self.home, retained)
        self.is_shared_due = not checks.sweep_isolated(self.home, {release.isolation for release in retained})
        return package_caches.is_due(self.home)

    def _prune(self, for_each_model: ForEachModel) -> None:
        """Prune what nobody needs any more; the disk is swept where anybody has pruned a release since.

        A release is made superfluous by one that goes live, a pull request that is closed, or a merge group
        that is gone: not only by the end of a build.
        """
        for_each_model(self._prune_model)
        pruning.prune_unfollowed(self.sessions, self.home, self.settings)
        with self.sessions.begin() as session:
            count = releases.count_pruned(session)
        self.is_due |= count != self.pruned_count
        self.pruned_count = count

    def _prune_model(self, model: ModelConfig) -> None:
        with self.sessions.begin() as session:
            checks.prune_checks(session, model)
            pruning.prune_artifacts(session, model.name, self.settings.keep)
            retraining_pruning.prune_retrainings(session, model.name)
