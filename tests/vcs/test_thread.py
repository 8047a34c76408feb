"""The thread that syncs goes on whatever breaks, and is started again where it ends."""

from collections.abc import Collection, Iterator

import httpx
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from resources.demo.github import FakeGitHub, FakePullRequests
from tests.harness.waiting import wait_until
from tests.vcs.conftest import SettingsOf, listening
from vcs.errors import SyncError
from vcs.settings import VcsSettings
from vcs.singer import Singer
from vcs.sync import PullRequestSync, SyncOutcome
from vcs.sync_thread import SyncThread


@pytest.fixture
def narrow(database_url: str) -> Iterator[sessionmaker[Session]]:
    """Sessions of one connection, for which nobody waits."""
    url = database_url.replace("postgresql://", "postgresql+psycopg2://")
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    yield sessionmaker(engine, expire_on_commit=False)
    engine.dispose()


def test_a_full_pool_ends_no_thread(
    settings: VcsSettings, narrow: sessionmaker[Session], pulls: FakePullRequests
) -> None:
    pulls.open("Meanwhile", head="a")
    syncer = SyncThread(PullRequestSync(settings, narrow, Singer(settings)), tick=0)
    try:
        with narrow() as session:
            session.connection()
            syncer.start()
            failed = syncer.request_sync().exception(30)
        assert isinstance(failed, SyncError)
        assert failed.kind == "database-gone"
        assert syncer.request_sync().result(60).rows == 1
    finally:
        syncer.stop()
        syncer.join(10)


def test_what_breaks_beside_the_sync_is_no_end_of_it(
    sync: PullRequestSync, pulls: FakePullRequests, lines: list[str]
) -> None:
    pulls.open("Meanwhile", head="a")

    def observe(_: SyncOutcome, __: float) -> None:
        raise RuntimeError("out of order")

    syncer = SyncThread(sync, tick=0, observe=observe)
    syncer.start()
    try:
        assert syncer.request_sync().result(60).rows == 1
        assert syncer.request_sync().result(60).rows == 0
    finally:
        syncer.stop()
        syncer.join(10)
    assert any("out of order" in line for line in lines)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_is_seen_and_started_again(
    settings_of: SettingsOf,
    sessions: sessionmaker[Session],
    github: FakeGitHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of()
    ended: list[bool] = []
    run = PullRequestSync.run

    def end_once(sync: PullRequestSync, repositories: Collection[str]) -> object:
        if not ended:
            ended.append(True)
            raise SystemExit
        return run(sync, repositories)

    monkeypatch.setattr(PullRequestSync, "run", end_once)
    with listening(settings, sessions) as client:
        assert client.post("/checkout").status_code == 500
        wait_until(lambda: status(client) == 503, 5, "vcs says that the thread has ended")
        wait_until(lambda: status(client) == 200, 30, "vcs is healthy again")
        assert client.post("/checkout").status_code == 200


def status(client: httpx.Client) -> int:
    return client.get("/health").status_code
