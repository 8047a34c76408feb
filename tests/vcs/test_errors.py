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

from cli.up.postgres import Postgres
from db import migrate, pull_requests
from db.session import create_sessionmaker as sessions_of
from db.session import to_driver_url
from resources.demo.github import FakeGitHub, FakePullRequests, GitHubFault
from resources.demo.github.pulls import generate_pulls
from tests.harness.processes import command_line
from tests.harness.waiting import free_port, wait_until
from tests.vcs.conftest import REPOSITORY, TOKEN, SettingsOf
from vcs.errors import SyncError, from_database_error
from vcs.singer import Singer
from vcs.sync import PullRequestSync
from vcs.sync_thread import SyncThread

# the fault, the status, and what the problem document says of cause and cure
MATRIX: list[tuple[GitHubFault, int, list[str]]] = [
    (GitHubFault("unauthorized"), 502, ["401: Bad credentials", "GITHUB_TOKEN is wrong, expired or revoked"]),
    (GitHubFault("forbidden"), 502, ["403: Resource not accessible", "grant it read access"]),
    (GitHubFault("not-found"), 502, ["404: Not Found", "SLIPWAY_REPOSITORY is misspelled"]),
    (GitHubFault("rate-limit"), 503, ["403: API rate limit exceeded", "when the window ends"]),
    (GitHubFault("secondary-rate-limit"), 503, ["403: You have exceeded a secondary", "after the pause"]),
    (GitHubFault("too-many-requests"), 503, ["429: Too many requests", "after the pause"]),
    (GitHubFault("server-error"), 502, ["500: Server Error", "githubstatus.com"]),
    (GitHubFault("bad-gateway"), 502, ["502: <html><h1>502 Bad Gateway", "githubstatus.com"]),
    (GitHubFault("html"), 502, ["Unicorn!", "GITHUB_API_URL is not an API's address"]),
    (GitHubFault("truncated"), 502, ["cut off", "cuts answers short"]),
    (GitHubFault("too-large"), 502, ["larger than 64 MiB", "what stands between here and GITHUB_API_URL"]),
    (GitHubFault("dropped"), 502, ["Remote end closed connection", "DNS, firewall, proxy"]),
    (
        GitHubFault("garbled", fields={"id": "seven"}),
        502,
        ["id is 'seven'", "Open that pull request's address"],
    ),
    (
        GitHubFault("garbled", fields={"updated_at": None}),
        502,
        ["has no updated_at", "Slipway skips no pull request"],
    ),
]
MORE: list[tuple[GitHubFault, int, list[str]]] = [  # garbled in other places
    (
        GitHubFault("garbled", fields={"created_at": "2026-01-01T00:00:00"}),
        502,
        ["created_at is no time", "whole"],
    ),
    (
        GitHubFault("garbled", fields={"merged_at": "lately"}),
        502,
        ["merged_at is no time", "until GitHub"],
    ),
    (
        GitHubFault("garbled", fields={"title": ["Use"]}),
        502,
        ["title is \"['Use']\"", "Slipway skips no pull request"],
    ),
    (
        GitHubFault("garbled", fields={"base": "main"}),
        502,
        ["base is 'main'", "until GitHub sends a valid one"],
    ),
]


def soak(*cases: Any) -> list[Any]:
    return [pytest.param(case, marks=pytest.mark.soak) for case in cases]


def name(case: tuple[GitHubFault, int, list[str]]) -> str:
    return " ".join([case[0].kind, *case[0].fields])


@pytest.mark.parametrize("case", [*MATRIX, *soak(*MORE)], ids=name)
def test_a_fault_of_github(
    case: tuple[GitHubFault, int, list[str]],
    client: httpx.Client,
    sync: PullRequestSync,
    github: FakeGitHub,
    pulls: FakePullRequests,
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


def state(sync: PullRequestSync) -> dict[str, Any] | None:
    with sync.sessions() as session:
        return pull_requests.load_state(session, REPOSITORY)


def failure(sync: PullRequestSync) -> SyncError:
    with pytest.raises(SyncError) as caught:
        sync.run()
    return caught.value


@pytest.mark.parametrize("kind", ["server-error", "truncated", *soak("bad-gateway", "dropped", "html")])
def test_what_passes_at_once_is_no_failure(
    kind: Any, sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    generate_pulls(pulls, 120)
    github.faults.arm(GitHubFault(kind, after=1, times=1))

    assert sync.run().rows == 120
    assert len(github.log) == 3


def test_a_short_limit_is_waited_for(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    generate_pulls(pulls, 120)
    github.faults.arm(GitHubFault("secondary-rate-limit", after=1, times=1, wait=1))

    assert sync.run().rows == 120


def test_the_last_call_of_the_window_still_counts(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    generate_pulls(pulls, 20)
    # a reset time in the past, as clocks that differ make it
    github.faults.arm(GitHubFault("last-call", wait=-10))

    assert sync.run().rows == 20


@pytest.mark.parametrize(("token", "said"), [("e", "the repository"), ("repository", "the ***")])
def test_a_token_is_masked_where_it_is_long_enough_to_be_one(
    token: str, said: str, settings_of: SettingsOf
) -> None:
    assert Singer(settings_of(github_token=token)).mask_secrets("the repository") == said


@pytest.mark.parametrize("ahead", [7200, -7200])
def test_githubs_clock_may_differ(ahead: int, client: httpx.Client, github: FakeGitHub) -> None:
    github.clock_offset_seconds = ahead
    github.faults.arm(GitHubFault("rate-limit", wait=600))

    assert 100 < int(client.post("/checkout").headers["Retry-After"]) <= 601


def test_github_is_left_in_peace_until_the_limit_is_lifted(client: httpx.Client, github: FakeGitHub) -> None:
    github.faults.arm(GitHubFault("secondary-rate-limit", wait=600))
    first = client.post("/checkout")
    second = client.post("/checkout")

    assert first.json()["kind"] == second.json()["kind"] == "secondary-rate-limit"
    assert 0 < int(second.headers["Retry-After"]) <= 600
    assert len(github.log) == 1


def test_a_sync_that_breaks_off_in_the_middle_loses_nothing(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests, sessions: sessionmaker[Session]
) -> None:
    generate_pulls(pulls, 250)
    github.faults.arm(GitHubFault("rate-limit", after=2))
    assert failure(sync).kind == "rate-limit"
    assert state(sync) is None

    github.faults.arm(None)
    found = sync.run()

    assert (found.rows, found.newly_accepted) == (250, 175)
    with sessions() as session:
        assert session.execute(text("SELECT count(*) FROM vcs.pull_requests")).scalar_one() == 250


def test_nobody_listens_at_the_address(settings_of: SettingsOf, sessions: sessionmaker[Session]) -> None:
    settings = settings_of(github_api_url=f"http://127.0.0.1:{free_port()}")

    failed = failure(PullRequestSync(settings, sessions, Singer(settings)))
    assert failed.kind == "unreachable"
    assert failed.cause == "Connection refused"


def test_the_name_of_the_api_is_not_known(
    settings_of: SettingsOf, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    settings = settings_of(github_api_url="http://nowhere.invalid")

    failed = failure(PullRequestSync(settings, sessions, Singer(settings)))
    assert failed.kind == "unreachable"
    assert "Errno" not in str(failed)
    assert "gaierror" not in str(failed).lower()


def test_singer_is_not_installed(
    settings_of: SettingsOf, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    settings = settings_of(singer=tmp_path)
    failed = failure(PullRequestSync(settings, sessions, Singer(settings)))

    assert failed.kind == "not-installed"
    assert "python -m vcs.install" in str(failed)


def test_github_hangs(
    settings_of: SettingsOf, sessions: sessionmaker[Session], github: FakeGitHub, pulls: FakePullRequests
) -> None:
    pulls.open("Slow", head="a")
    github.faults.arm(GitHubFault("none", delay=30))
    settings = settings_of(sync_timeout=1)

    assert failure(PullRequestSync(settings, sessions, Singer(settings))).kind == "timeout"
    assert singers() == []


def test_a_full_quota_of_the_databases_disk_is_a_full_disk() -> None:
    """Postgres may be unable to start a backend then, and sends no SQLSTATE."""
    message = "FATAL: could not write lock file: Disk quota exceeded"
    assert from_database_error(None, "OperationalError", message).kind == "disk-full"


def test_the_disk_of_the_database_is_full(
    sync: PullRequestSync, pulls: FakePullRequests, sessions: sessionmaker[Session]
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


def test_the_tables_are_missing(sync: PullRequestSync, sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        session.execute(text("DROP SCHEMA vcs CASCADE"))

    failed = failure(sync)
    assert failed.kind == "database-schema"
    assert "python -m db.migrate" in str(failed)


def test_a_value_refused_each_time_is_not_promised_for_later() -> None:
    failed = from_database_error("22P02", "InvalidTextRepresentation", "invalid input syntax for type json")

    assert failed.kind == "database-value"
    assert "Nothing is lost" not in str(failed)


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path / "postgres").start()
    migrate.upgrade_schema(server.database_url())
    yield server
    server.stop()


def test_the_database_is_gone(
    own_postgres: Postgres, settings_of: SettingsOf, pulls: FakePullRequests, github: FakeGitHub
) -> None:
    pulls.merge(pulls.open("Before", head="a"))
    settings = settings_of(database_url=own_postgres.database_url())
    sync = PullRequestSync(settings, sessions_of(own_postgres.database_url()), Singer(settings))
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
def meanwhile(github: FakeGitHub, act: Callable[[], object]) -> Iterator[None]:
    """`act` happens while the tap of the sync in the block waits for GitHub's second page."""

    def when_asked() -> None:
        wait_until(lambda: len(github.log) > 1, 30, "the second page is asked for")
        act()
        github.faults.arm(None)

    github.faults.arm(GitHubFault("none", after=1, delay=60))
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
    own_postgres: Postgres, settings_of: SettingsOf, pulls: FakePullRequests, github: FakeGitHub
) -> None:
    generate_pulls(pulls, 150)
    settings = settings_of(database_url=own_postgres.database_url())
    sync = PullRequestSync(settings, sessions_of(own_postgres.database_url()), Singer(settings))

    with meanwhile(github, own_postgres.stop):
        assert failure(sync).kind == "database-gone"

    own_postgres.start()
    assert sync.run().rows == 150


@pytest.mark.parametrize("name", ["tap", "target"])
def test_singer_is_killed_in_the_middle(
    name: str, sync: PullRequestSync, pulls: FakePullRequests, github: FakeGitHub
) -> None:
    generate_pulls(pulls, 150)

    with meanwhile(github, lambda: list(map(psutil.Process.kill, singers(name)))):
        failed = failure(sync)

    assert failed.kind == "killed"
    assert f"the {name} got SIGKILL" in str(failed)
    assert state(sync) is None
    assert singers() == []
    assert sync.run().rows == 150


def test_the_token_stands_in_no_argument_variable_or_file(
    sync: PullRequestSync, pulls: FakePullRequests, github: FakeGitHub, database_url: str
) -> None:
    generate_pulls(pulls, 150)
    password = to_driver_url(database_url).password
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


def test_nobody_waits_for_a_limit_to_be_lifted(sync: PullRequestSync, github: FakeGitHub) -> None:
    github.faults.arm(GitHubFault("rate-limit", delay=60))
    syncer = SyncThread(sync, tick=0)
    syncer.start()
    try:
        running = syncer.request_sync()
        wait_until(lambda: github.log, 30, "the sync asks GitHub")
        following = syncer.request_sync()
        github.faults.arm(GitHubFault("rate-limit"))

        for asked in (running, following):
            error = asked.exception(30)
            assert isinstance(error, SyncError)
            assert error.kind == "rate-limit"
        assert len(github.log) == 1
    finally:
        syncer.stop()
        syncer.join(10)
