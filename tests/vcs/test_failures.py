"""What goes wrong at GitHub or the database is named with its cure, and the next sync makes it good."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from cli.postgres import Postgres
from db import migrate, pull_requests
from db.session import driver_url
from db.session import sessions as sessions_of
from resources.demo.github import Fault, GitHub, PullRequests
from resources.demo.github.pulls import fill
from tests.support.processes import command_line
from tests.support.waiting import free_port, wait_until
from tests.vcs.conftest import REPOSITORY, TOKEN, SettingsOf
from vcs.failures import SyncFailed, database
from vcs.singer import Singer
from vcs.sync import Sync, Syncer

# the fault, the status, and what the problem document says of cause and cure
MATRIX: list[tuple[Fault, int, list[str]]] = [
    (Fault("unauthorized"), 502, ["401: Bad credentials", "GITHUB_TOKEN is wrong, expired or revoked"]),
    (Fault("forbidden"), 502, ["403: Resource not accessible", "grant it read access"]),
    (Fault("not-found"), 502, ["404: Not Found", "SLIPWAY_REPOSITORY is misspelled"]),
    (Fault("rate-limit"), 503, ["403: API rate limit exceeded", "when the window ends"]),
    (Fault("secondary-rate-limit"), 503, ["403: You have exceeded a secondary", "after the pause"]),
    (Fault("too-many-requests"), 503, ["429: Too many requests", "after the pause"]),
    (Fault("server-error"), 502, ["500: Server Error", "githubstatus.com"]),
    (Fault("bad-gateway"), 502, ["502: <html><h1>502 Bad Gateway", "githubstatus.com"]),
    (Fault("html"), 502, ["Unicorn!", "GITHUB_API_URL is not an API's address"]),
    (Fault("truncated"), 502, ["broken off", "cuts answers short"]),
    (Fault("dropped"), 502, ["Remote end closed connection", "DNS, firewall, proxy"]),
    (Fault("garbled", fields={"id": "seven"}), 502, ["id is 'seven'", "Open that pull request's address"]),
    (Fault("garbled", fields={"updated_at": None}), 502, ["has no updated_at", "nothing is passed over"]),
]
MORE: list[tuple[Fault, int, list[str]]] = [  # garbled in other places
    (Fault("garbled", fields={"created_at": "2026-01-01T00:00:00"}), 502, ["created_at is no time", "whole"]),
    (Fault("garbled", fields={"merged_at": "lately"}), 502, ["merged_at is no time", "until the record"]),
    (Fault("garbled", fields={"title": ["Use"]}), 502, ["title is \"['Use']\"", "nothing is passed over"]),
    (Fault("garbled", fields={"base": "main"}), 502, ["base is 'main'", "until the record is whole again"]),
]


def soak(*cases: Any) -> list[Any]:
    return [pytest.param(case, marks=pytest.mark.soak) for case in cases]


def name(case: tuple[Fault, int, list[str]]) -> str:
    return " ".join([case[0].kind, *case[0].fields])


@pytest.mark.parametrize("case", [*MATRIX, *soak(*MORE)], ids=name)
def test_a_fault_of_github(
    case: tuple[Fault, int, list[str]], client: httpx.Client, sync: Sync, github: GitHub, pulls: PullRequests
) -> None:
    fault, status, words = case
    pulls.open("Before", head="a")
    sync.run()
    before = state(sync)
    pulls.merge(pulls.open("Meanwhile", head="b"))
    github.faults.arm(fault)

    answer = client.post("/checkout")

    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, problem["status"]) == (status, status)
    for phrase in words:
        assert phrase in problem["title"] + " " + problem["detail"]
    assert ("Retry-After" in answer.headers) == (problem["kind"] in ("rate-limit", "secondary-rate-limit"))
    assert TOKEN not in answer.text
    assert state(sync) == before
    health = client.get("/health")
    assert health.status_code == 200
    assert problem["title"] in health.json()["last_sync"]
    page = client.get("/pull-requests", headers={"Accept": "text/html"})
    assert problem["title"] in unescape(page.text)

    github.faults.arm(None)
    mended = sync.run()

    assert (mended.rows, mended.newly_accepted) == (1, 1)
    assert state(sync) != before


def state(sync: Sync) -> dict[str, Any] | None:
    with sync.sessions() as session:
        return pull_requests.state(session, REPOSITORY)


def failure(sync: Sync) -> SyncFailed:
    with pytest.raises(SyncFailed) as caught:
        sync.run()
    return caught.value


@pytest.mark.parametrize("kind", ["server-error", "truncated", *soak("bad-gateway", "dropped", "html")])
def test_what_passes_at_once_is_no_failure(
    kind: Any, sync: Sync, github: GitHub, pulls: PullRequests
) -> None:
    fill(pulls, 120)
    github.faults.arm(Fault(kind, after=1, times=1))

    assert sync.run().rows == 120
    assert len(github.log) == 3


def test_a_short_limit_is_waited_for(sync: Sync, github: GitHub, pulls: PullRequests) -> None:
    fill(pulls, 120)
    github.faults.arm(Fault("secondary-rate-limit", after=1, times=1, wait=1))

    assert sync.run().rows == 120


def test_the_last_call_of_the_window_still_counts(sync: Sync, github: GitHub, pulls: PullRequests) -> None:
    fill(pulls, 20)
    github.faults.arm(Fault("last-call", wait=-10))  # a reset time in the past, as clocks that differ make it

    assert sync.run().rows == 20


@pytest.mark.parametrize("ahead", [7200, -7200])
def test_githubs_clock_may_differ(ahead: int, client: httpx.Client, github: GitHub) -> None:
    github.ahead = ahead
    github.faults.arm(Fault("rate-limit", wait=600))

    assert 100 < int(client.post("/checkout").headers["Retry-After"]) <= 601


def test_github_is_left_in_peace_until_the_limit_is_lifted(client: httpx.Client, github: GitHub) -> None:
    github.faults.arm(Fault("secondary-rate-limit", wait=600))
    first = client.post("/checkout")
    second = client.post("/checkout")

    assert first.json()["kind"] == second.json()["kind"] == "secondary-rate-limit"
    assert 0 < int(second.headers["Retry-After"]) <= 600
    assert len(github.log) == 1


def test_a_sync_that_breaks_off_in_the_middle_loses_nothing(
    sync: Sync, github: GitHub, pulls: PullRequests, sessions: sessionmaker[Session]
) -> None:
    fill(pulls, 250)
    github.faults.arm(Fault("rate-limit", after=2))
    assert failure(sync).kind == "rate-limit"
    assert state(sync) is None

    github.faults.arm(None)
    found = sync.run()

    assert (found.rows, found.newly_accepted) == (250, 175)
    with sessions() as session:
        assert session.execute(text("SELECT count(*) FROM vcs.pull_requests")).scalar_one() == 250


def test_nobody_listens_at_the_address(settings_of: SettingsOf, sessions: sessionmaker[Session]) -> None:
    settings = settings_of(github_api_url=f"http://127.0.0.1:{free_port()}")

    failed = failure(Sync(settings, sessions, Singer(settings)))
    assert failed.kind == "unreachable"
    assert failed.cause == "Connection refused"


def test_the_name_of_the_api_is_not_known(
    settings_of: SettingsOf, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    settings = settings_of(github_api_url="http://nowhere.invalid")

    failed = failure(Sync(settings, sessions, Singer(settings)))
    assert failed.kind == "unreachable"
    assert "Errno" not in str(failed)
    assert "gaierror" not in str(failed).lower()


def test_singer_is_not_installed(
    settings_of: SettingsOf, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    settings = settings_of(singer=tmp_path)
    failed = failure(Sync(settings, sessions, Singer(settings)))

    assert failed.kind == "not-installed"
    assert "python -m vcs.install" in str(failed)


def test_github_hangs(
    settings_of: SettingsOf, sessions: sessionmaker[Session], github: GitHub, pulls: PullRequests
) -> None:
    pulls.open("Slow", head="a")
    github.faults.arm(Fault("none", delay=30))
    settings = settings_of(sync_timeout=1)

    assert failure(Sync(settings, sessions, Singer(settings))).kind == "timeout"
    assert singers() == []


def test_the_disk_of_the_database_is_full(
    sync: Sync, pulls: PullRequests, sessions: sessionmaker[Session]
) -> None:
    """As Postgres says it: a disk that is really full needs a file system of its own."""
    pulls.open("Large", head="a")
    with sessions.begin() as session:
        session.execute(
            text("""
                CREATE FUNCTION vcs.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device'
                    USING ERRCODE = 'disk_full';
                END $$
            """)
        )
        session.execute(
            text("""
                CREATE TRIGGER full_disk BEFORE INSERT ON vcs.pull_requests
                FOR EACH ROW EXECUTE FUNCTION vcs.full_disk()
            """)
        )
    failed = failure(sync)
    assert (failed.kind, failed.status) == ("disk-full", 507)
    assert "could not extend file" in str(failed)
    assert "Make room" in str(failed)
    assert state(sync) is None

    with sessions.begin() as session:
        session.execute(text("DROP TRIGGER full_disk ON vcs.pull_requests"))
    assert sync.run().rows == 1


def test_the_tables_are_missing(sync: Sync, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        session.execute(text("DROP SCHEMA vcs CASCADE"))

    failed = failure(sync)
    assert failed.kind == "database-schema"
    assert "python -m db.migrate" in str(failed)


def test_a_value_that_is_refused_each_time_is_not_promised_for_later() -> None:
    failed = database("22P02", "InvalidTextRepresentation", "invalid input syntax for type json")

    assert failed.kind == "database-value"
    assert "Nothing is lost" not in str(failed)


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path / "postgres").start()
    migrate.upgrade(server.url())
    yield server
    server.stop()


def test_the_database_is_gone(
    own_postgres: Postgres, settings_of: SettingsOf, pulls: PullRequests, github: GitHub
) -> None:
    pulls.merge(pulls.open("Before", head="a"))
    settings = settings_of(database_url=own_postgres.url())
    sync = Sync(settings, sessions_of(own_postgres.url()), Singer(settings))
    sync.run()
    own_postgres.stop()
    pulls.merge(pulls.open("Meanwhile", head="b"))

    failed = failure(sync)
    assert (failed.kind, failed.status) == ("database-gone", 503)
    assert "DATABASE_URL" in str(failed)
    assert own_postgres.password_file.read_text() not in str(failed)

    own_postgres.start()
    found = sync.run()
    assert (found.rows, found.newly_accepted) == (1, 1)


@contextmanager
def meanwhile(github: GitHub, act: Callable[[], object]) -> Iterator[None]:
    """`act` happens while the tap of the sync in the block waits for GitHub's second page."""

    def when_asked() -> None:
        wait_until(lambda: len(github.log) > 1, 30, "the second page is asked for")
        act()
        github.faults.arm(None)

    github.faults.arm(Fault("none", after=1, delay=60))
    thread = threading.Thread(target=when_asked)
    thread.start()
    yield
    thread.join()


def singers(name: str = "") -> list[psutil.Process]:
    """The processes of Singer that this one has started."""
    found = psutil.Process().children(recursive=True)
    return [
        process
        for process in found
        if any(f"vcs/{name}" in part and part.endswith(".py") for part in command_line(process))
    ]


def test_the_database_goes_in_the_middle(
    own_postgres: Postgres, settings_of: SettingsOf, pulls: PullRequests, github: GitHub
) -> None:
    fill(pulls, 150)
    settings = settings_of(database_url=own_postgres.url())
    sync = Sync(settings, sessions_of(own_postgres.url()), Singer(settings))

    with meanwhile(github, own_postgres.stop):
        assert failure(sync).kind == "database-gone"

    own_postgres.start()
    assert sync.run().rows == 150


@pytest.mark.parametrize("name", ["tap", "target"])
def test_singer_is_killed_in_the_middle(name: str, sync: Sync, pulls: PullRequests, github: GitHub) -> None:
    fill(pulls, 150)

    with meanwhile(github, lambda: list(map(psutil.Process.kill, singers(name)))):
        failed = failure(sync)

    assert failed.kind == "killed"
    assert f"the {name} got SIGKILL" in str(failed)
    assert state(sync) is None
    assert singers() == []
    assert sync.run().rows == 150


def test_the_token_stands_in_no_argument_variable_or_file(
    sync: Sync, pulls: PullRequests, github: GitHub, database_url: str
) -> None:
    fill(pulls, 150)
    password = driver_url(database_url).password
    assert password
    said: list[str] = []

    def look() -> None:
        for process in singers():
            said.extend([*process.cmdline(), *process.environ().values()])
            for file in process.open_files():
                said.append(Path(file.path).read_text(errors="replace") if Path(file.path).is_file() else "")

    with meanwhile(github, look):
        sync.run()

    assert len(said) > 10
    assert not [text for text in said if TOKEN in text or password in text]


def test_nobody_waits_for_a_limit_to_be_lifted(sync: Sync, github: GitHub) -> None:
    github.faults.arm(Fault("rate-limit", delay=60))
    syncer = Syncer(sync, tick=0)
    syncer.start()
    try:
        running = syncer.ask()
        wait_until(lambda: github.log, 30, "the sync asks GitHub")
        following = syncer.ask()
        github.faults.arm(Fault("rate-limit"))

        for asked in (running, following):
            error = asked.exception(30)
            assert isinstance(error, SyncFailed)
            assert error.kind == "rate-limit"
        assert len(github.log) == 1
    finally:
        syncer.stop()
        syncer.join(10)
