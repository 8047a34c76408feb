"""The stand-in for GitHub, Singer's real environments, and vcs between it and a real database."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session, sessionmaker

from common.web.connection_limits import ConnectionLimits
from common.web.server import ServerConfig
from resources.demo.github import FakeGitHub, FakePullRequests, create_server
from tests.harness import plain_http
from tests.harness.waiting import wait_until
from vcs.__main__ import VcsServer
from vcs.app import create_app
from vcs.install import install
from vcs.settings import VcsSettings
from vcs.singer import Singer
from vcs.sync import PullRequestSync

HOME = Path(__file__).parents[2] / ".slipway" / "tests" / "singer"  # kept between runs
REPOSITORY = "acme/widgets"
TOKEN = "github-token-of-the-tests"
SECRET = "webhook-secret-of-the-tests"

LIMITS = ConnectionLimits(proxies=("127.0.0.1",))  # as by default

SettingsOf = Callable[..., VcsSettings]


@pytest.fixture(scope="session")
def singer_home() -> Path:
    install(HOME)
    return HOME


@pytest.fixture
def pulls() -> FakePullRequests:
    return FakePullRequests(REPOSITORY)


@pytest.fixture
def github(pulls: FakePullRequests) -> Iterator[FakeGitHub]:
    with create_server(pulls, token=TOKEN) as running:
        yield running


@pytest.fixture
def settings_of(github: FakeGitHub, url_of: Callable[[str], str], singer_home: Path) -> SettingsOf:
    """Settings as of an appliance that only syncs when called; each may be replaced."""

    def make(**others: Any) -> VcsSettings:
        told: dict[str, Any] = {
            "repository": REPOSITORY,
            "github_token": TOKEN,
            "github_api_url": github.url,
            "database_url": url_of("vcs"),
            "singer": singer_home,
            "webhook_secret": SECRET,
            "sync_seconds": 0,
            "port": 0,
        }
        fields = VcsSettings.model_fields
        return VcsSettings(**{str(fields[n].validation_alias or n): v for n, v in (told | others).items()})

    return make


@pytest.fixture
def settings(settings_of: SettingsOf) -> VcsSettings:
    return settings_of()


@pytest.fixture
def own_sessions(sessions_of: Callable[[str], sessionmaker[Session]]) -> sessionmaker[Session]:
    """As the role of vcs."""
    return sessions_of("vcs")


@pytest.fixture
def sync(settings: VcsSettings, own_sessions: sessionmaker[Session]) -> PullRequestSync:
    """One sync at a time, from the test's own thread."""
    return PullRequestSync(settings, own_sessions, Singer(settings))


@pytest.fixture
def client(settings: VcsSettings, own_sessions: sessionmaker[Session]) -> Iterator[httpx.Client]:
    with listening(settings, own_sessions) as made:
        yield made


@contextmanager
def listening(
    settings: VcsSettings, sessions: sessionmaker[Session], limits: ConnectionLimits = LIMITS
) -> Iterator[httpx.Client]:
    """Talks to vcs over HTTP."""
    server = VcsServer(
        ServerConfig(create_app(settings, sessions), host="127.0.0.1", port=0, limits=limits, grace=3)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), 20, "vcs listens")
        port = server.servers[0].sockets[0].getsockname()[1]
        with plain_http.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as made:
            yield made
    finally:
        server.should_exit = True
        thread.join()
