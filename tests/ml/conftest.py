"""An appliance's building half: a repository, its database, one look after the other."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from db import deployments, releases
from db import session as db_session
from db.models import Release
from db.session import notify
from ml.controller.reconciler import Reconciler
from ml.settings import MlSettings
from tests.harness.repositories import Files, ModelRepository
from tests.harness.shelf import Shelf, serving
from tests.harness.waiting import wait_for_exit, wait_until

CACHE = Path(__file__).parents[2] / ".slipway/tests"
LOOK_SECONDS = 1.0  # most looks find nothing: the end of a child calls at once


@dataclass
class Appliance:
    """Merges go in, releases come out; builders are real processes."""

    settings: MlSettings  # of watch and its builders
    serving: MlSettings  # the same for serve, which has another role in Postgres
    sessions: sessionmaker[Session]  # the test's own, which may do all
    repository: ModelRepository
    lookout: Reconciler
    merged: int = 0
    looks_at: float = 0.0  # when `look` reconciles again
    began: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(hours=1))

    @property
    def model(self) -> str:
        return self.settings.list_models()[0].name

    def merge(self, files: Files, commit: str | None = None) -> str:
        """Merge a pull request that brings `files`, and let it be known as Singer does; gives its commit."""
        self.merged += 1
        commit = commit or self.repository.merge_pull_request(self.merged, files)
        self.ingest(self.merged, commit)
        return commit

    def ingest(
        self,
        number: int,
        commit: str,
        branch: str = "main",
        merged: bool = True,
        repository: str | None = None,
    ) -> None:
        self.looks_at = 0.0
        with self.sessions.begin() as session:
            session.execute(
                text("""
                    INSERT INTO vcs.pull_requests
                        (id, _sdc_repository, number, state, title, base_ref, merge_commit_sha, merged_at)
                    VALUES (:number, :repository, :number, 'closed', :title, :branch, :commit, :at)
                """),
                {
                    "number": number,
                    "repository": repository or self.settings.list_models()[0].repository,
                    "title": f"Change {number}",
                    "branch": branch,
                    "commit": commit,
                    "at": self.began + timedelta(minutes=number) if merged else None,
                },
            )

    def notify(self) -> None:
        """As vcs does when a sync has brought something."""
        with self.sessions.begin() as session:
            notify(session, "pull_requests")

    def look(self) -> None:
        """Reconcile, for loops that wait: not at once again, unless a merge or the end of a child calls."""
        if time.monotonic() > self.looks_at or wait_for_exit(self.child_pids(), 0):
            self.lookout.reconcile()
            self.looks_at = time.monotonic() + LOOK_SECONDS

    def child_pids(self) -> list[int]:
        return [*self.lookout.builders.list_pids(), *self.lookout.daemons.list_pids()]

    def settle(self, seconds: float = 120) -> None:
        """Look until nothing is queued or being built."""
        end = time.monotonic() + seconds
        while True:
            self.lookout.reconcile()
            if all(release.status.has_ended for release in self.releases()):
                return
            assert time.monotonic() < end, (
                f"not settled: {[(r.id, r.status, r.reason) for r in self.releases()]}"
            )
            pids = self.child_pids()
            wait_for_exit(pids, LOOK_SECONDS if pids else 0.05)

    def releases(self) -> list[Release]:
        """Newest first."""
        with self.sessions.begin() as session:
            return list(session.scalars(select(Release).order_by(Release.id.desc())))

    def release(self, commit: str) -> Release:
        return next(release for release in self.releases() if release.commit == commit)

    def wanted(self) -> int | None:
        """The release that the newest decision wants live."""
        with self.sessions.begin() as session:
            deployment = deployments.find_wanted(session, self.model)
            return deployment.release_id if deployment else None

    def wait_for_stage(self, name: str) -> Release:
        """Look until the newest release has begun the stage."""

        def begun() -> Release | None:
            self.look()
            with self.sessions.begin() as session:
                found = releases.find(session, self.releases()[0].id)
                assert found is not None
                return found if name in [stage.name for stage in found.stages] else None

        found = wait_until(begun, 60, f"the stage {name} begins")
        assert found is not None
        return found

    def log(self, release: Release, stage: str) -> str:
        return (self.settings.home / f"releases/{release.id}/logs/{stage}.log").read_text()


@pytest.fixture
def shared_home(tmp_path: Path) -> Path:
    """A SLIPWAY_HOME of the test's own; environments and uv's cache are shared between tests and runs."""
    return make_home(tmp_path)


def make_home(folder: Path) -> Path:
    """Make the home in `folder` that `shared_home` gives."""
    home = folder / "home"
    home.mkdir()
    for name in ("environments", "cache"):
        (CACHE / name).mkdir(parents=True, exist_ok=True)
        (home / name).symlink_to(CACHE / name)
    return home


@pytest.fixture
def make_appliance(
    url_of: Callable[[str], str],
    sessions: sessionmaker[Session],
    tmp_path: Path,
    shared_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Appliance]]:
    made: list[Appliance] = []

    def make(**variables: str) -> Appliance:
        repository = ModelRepository(tmp_path / "repository")
        environment = {
            "DATABASE_URL": url_of("watch"),
            "SLIPWAY_HOME": str(shared_home),
            "SLIPWAY_REPOSITORY": "acme/web-traffic",
            "SLIPWAY_CLONE_URL": repository.url,
            **variables,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings = MlSettings()
        url = variables.get("DATABASE_URL") or url_of("serve")
        serving = settings.model_copy(update={"database_url": url})
        lookout = Reconciler(settings, db_session.create_sessionmaker(settings.database_url))
        appliance = Appliance(settings, serving, sessions, repository, lookout)
        made.append(appliance)
        return appliance

    yield make
    for appliance in made:
        appliance.lookout.stop()
        appliance.lookout.sessions.kw["bind"].dispose()


@pytest.fixture
def appliance(make_appliance: Callable[..., Appliance]) -> Appliance:
    return make_appliance()


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """A server of files, and no proxy on the way to it."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    with serving() as found:
        yield found
