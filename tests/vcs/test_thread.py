"""The thread that syncs goes on whatever breaks, and is started again where it ends."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from resources.demo.github import GitHub, PullRequests
from tests.support.waiting import wait_until
from tests.vcs.conftest import SettingsOf, listening
from vcs.failures import SyncFailed
from vcs.settings import VcsSettings
from vcs.singer import Singer
from vcs.sync import Outcome, Sync, Syncer


@pytest.fixture
def narrow(database_url: str) -> Iterator[sessionmaker[Session]]:
    """Sessions of one connection, for which nobody waits."""
    url = database_url.replace("postgresql://", "postgresql+psycopg2://")
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    yield sessionmaker(engine, expire_on_commit=False)
    engine.dispose()


def test_a_full_pool_ends_no_thread(
    settings: VcsSettings, narrow: sessionmaker[Session], pulls: PullRequests
) -> None:
    pulls.open("Meanwhile", head="a")
    syncer = Syncer(Sync(settings, narrow, Singer(settings)), tick=0)
    try:
        with narrow() as session:
            session.connection()
            syncer.start()
            failed = syncer.ask().exception(30)
        assert isinstance(failed, SyncFailed)
        assert failed.kind == "database-gone"
        assert syncer.ask().result(60).rows == 1
    finally:
        syncer.stop()
        syncer.join(10)


def test_what_breaks_beside_the_sync_is_no_end_of_it(
    sync: Sync, pulls: PullRequests, lines: list[str]
) -> None:
    pulls.open("Meanwhile", head="a")

    def observe(_: Outcome, __: float) -> None:
        raise RuntimeError("out of order")

    syncer = Syncer(sync, tick=0, observe=observe)
    syncer.start()
    try:
        assert syncer.ask().result(60).rows == 1
        assert syncer.ask().result(60).rows == 0
    finally:
        syncer.stop()
        syncer.join(10)
    assert any("out of order" in line for line in lines)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_is_seen_and_started_again(
    settings_of: SettingsOf, sessions: sessionmaker[Session], github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of()
    ended: list[bool] = []
    run = Sync.run

    def end_once(sync: Sync) -> object:
        if not ended:
            ended.append(True)
            raise SystemExit
        return run(sync)

    monkeypatch.setattr(Sync, "run", end_once)
    with listening(settings, sessions) as client:
        assert client.post("/checkout").status_code == 500
        wait_until(lambda: status(client) == 503, 5, "vcs says that the thread has ended")
        wait_until(lambda: status(client) == 200, 30, "vcs is healthy again")
        assert client.post("/checkout").status_code == 200


def status(client: httpx.Client) -> int:
    return client.get("/health").status_code
