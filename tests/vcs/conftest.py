"""The stand-in for GitHub, Singer's real environments, and vcs between it and a real database."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.orm import Session, sessionmaker

from common.server import Config, Limits
from db import session as db_session
from resources.demo.github import GitHub, PullRequests, serve
from tests.support.waiting import wait_until
from vcs.__main__ import Server
from vcs.app import create
from vcs.install import install
from vcs.settings import VcsSettings
from vcs.singer import Singer
from vcs.sync import Sync

HOME = Path(__file__).parents[2] / ".slipway" / "tests" / "singer"  # kept between runs
REPOSITORY = "acme/widgets"
TOKEN = "github-token-of-the-tests"
SECRET = "webhook-secret-of-the-tests"

LIMITS = Limits(proxies=("127.0.0.1",))  # as by default

SettingsOf = Callable[..., VcsSettings]


@pytest.fixture(scope="session")
def singer_home() -> Path:
    install(HOME)
    return HOME


@pytest.fixture
def pulls() -> PullRequests:
    return PullRequests(REPOSITORY)


@pytest.fixture
def github(pulls: PullRequests) -> Iterator[GitHub]:
    with serve(pulls, token=TOKEN) as running:
        yield running


@pytest.fixture
def settings_of(github: GitHub, url_of: Callable[[str], str], singer_home: Path) -> SettingsOf:
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
def own_sessions(url_of: Callable[[str], str]) -> Iterator[sessionmaker[Session]]:
    """As the role of vcs; `sessions` are a test's own, which may do all."""
    made = db_session.sessions(url_of("vcs"))
    yield made
    made.kw["bind"].dispose()


@pytest.fixture
def sync(settings: VcsSettings, own_sessions: sessionmaker[Session]) -> Sync:
    """One sync at a time, from the test's own thread."""
    return Sync(settings, own_sessions, Singer(settings))


@pytest.fixture
def client(settings: VcsSettings, own_sessions: sessionmaker[Session]) -> Iterator[httpx.Client]:
    with listening(settings, own_sessions) as made:
        yield made


@contextmanager
def listening(
    settings: VcsSettings, sessions: sessionmaker[Session], limits: Limits = LIMITS
) -> Iterator[httpx.Client]:
    """Talks to vcs over HTTP."""
    server = Server(Config(create(settings, sessions), host="127.0.0.1", port=0, limits=limits, grace=3))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), 20, "vcs listens")
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as made:
            yield made
    finally:
        server.should_exit = True
        thread.join()
