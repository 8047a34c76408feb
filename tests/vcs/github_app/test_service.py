"""The whole vcs with an App and without a token: it syncs, stores tokens for clones, and leaks nothing."""

import time
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db import clone_tokens, pull_requests
from resources.demo.github import FakeApp, FakeGitHub, FakePullRequests, GitHubFault
from tests.harness.waiting import wait_until
from tests.vcs.conftest import REPOSITORY
from tests.vcs.github_app.conftest import write_key
from tests.vcs.outbox.conftest import StartVcs, Told
from vcs.errors import SyncError
from vcs.github_app import open_access
from vcs.github_app.clone_tokens import CloneTokens
from vcs.github_app.installations import AppAccess
from vcs.settings import VcsSettings
from vcs.singer import Singer
from vcs.sync import PullRequestSync


@pytest.fixture
def sync(settings: VcsSettings, own_sessions: sessionmaker[Session]) -> PullRequestSync:
    return PullRequestSync(settings, own_sessions, Singer(settings, open_access(settings)))


def read_clone_token(sessions: sessionmaker[Session]) -> str:
    with sessions() as session:
        return clone_tokens.find_token(session, REPOSITORY)


def test_pull_requests_are_read_with_the_installations_token(
    sync: PullRequestSync, pulls: FakePullRequests, app: FakeApp, github: FakeGitHub
) -> None:
    pulls.merge(pulls.open("Use the weekday", head="a"))
    assert sync.run().newly_accepted == 1
    assert sync.run().rows == 0
    assert len(app.tokens) == 1

    app.tokens.clear()  # as when somebody revokes it
    pulls.merge(pulls.open("Use the month", head="b"))
    with pytest.raises(SyncError) as refused:
        sync.run()
    assert refused.value.kind == "app-unauthorized"
    assert sync.run().newly_accepted == 1


def test_what_the_app_lacks_is_in_the_syncs_failure(
    sync: PullRequestSync, app: FakeApp, github: FakeGitHub
) -> None:
    del app.permissions["pull_requests"]
    with pytest.raises(SyncError, match="Pull requests: Read-only"):
        sync.run()

    app.repositories.clear()
    app.tokens.clear()
    sync.singer.access.drop_tokens()
    with pytest.raises(SyncError) as refused:
        sync.run()
    assert "not installed for acme/widgets: install it" in refused.value.summary

    github.write_faults.arm(GitHubFault("rate-limit", match="access_tokens", wait=77))
    app.repositories.add(REPOSITORY)
    with pytest.raises(SyncError) as limited:
        sync.run()
    assert limited.value.kind == "secondary-rate-limit"
    assert 70 < (limited.value.wait or 0) <= 78


def test_tokens_for_clones_are_stored_and_nothing_leaks(  # noqa: PLR0917 (fixtures)
    told: Told,
    app: FakeApp,
    github: FakeGitHub,
    sessions: sessionmaker[Session],
    start_vcs: StartVcs,
    settings: VcsSettings,
    tmp_path: Path,
) -> None:
    log, key = tmp_path / "log", settings.github_app_key_file
    assert key is not None
    start_vcs(log)
    wait_until(lambda: read_clone_token(sessions), 60, "a token is stored")
    first = read_clone_token(sessions)
    assert app.tokens[first].permissions == {"contents": "read"}
    told.put_status("is well")
    told.wait()

    said = log.read_text() + str(github.log)
    assert not [token for token in app.tokens if token in said]
    assert key.read_text().splitlines()[1] not in said


def test_a_token_for_clones_is_renewed_before_it_expires(
    access: AppAccess,
    github: FakeGitHub,
    own_sessions: sessionmaker[Session],
    sessions: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens, now, found = CloneTokens(access, own_sessions, [REPOSITORY]), time.monotonic, []
    for minutes in (0, 34, 36, 38, 74):  # one is valid for 60
        monkeypatch.setattr(time, "monotonic", lambda minutes=minutes: now() + 60 * minutes)
        if minutes == 36:
            github.write_faults.arm(GitHubFault("server-error", times=1, match="access_tokens"))
        tokens.renew_due()
        found.append(read_clone_token(sessions))
    assert found[0] == found[1] == found[2]  # GitHub did not answer
    assert found[2] != found[3] != found[4]
    assert all(found)


def test_a_token_that_the_git_server_refuses_is_replaced(
    told: Told, app: FakeApp, sessions: sessionmaker[Session], start_vcs: StartVcs
) -> None:
    start_vcs()
    revoked = wait_until(lambda: read_clone_token(sessions), 60, "a token is stored")
    with sessions.begin() as session:
        clone_tokens.reject_token(session, REPOSITORY, revoked)
    assert wait_until(lambda: read_clone_token(sessions), 60, "another one is stored") != revoked


@pytest.mark.usefixtures("github")
def test_a_token_refused_again_is_replaced_once_a_minute(
    access: AppAccess,
    own_sessions: sessionmaker[Session],
    sessions: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens, now, made = CloneTokens(access, own_sessions, [REPOSITORY]), time.monotonic, []
    for seconds in (0, 1, 2, 60, 62, 63):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now() + seconds)
        tokens.renew_due()
        made.append(read_clone_token(sessions))
        with sessions.begin() as session:
            clone_tokens.reject_token(session, REPOSITORY, made[-1])
    assert [bool(token) for token in made] == [True, True, False, False, True, False]
    assert 50 < tokens.seconds_until_due < 60


def test_a_refused_token_for_clones_is_said_and_comes_later(
    told: Told, app: FakeApp, sessions: sessionmaker[Session], start_vcs: StartVcs
) -> None:
    del app.permissions["contents"]
    start_vcs()
    wait_until(told.problem, 60, "the overview says it")
    assert "may not read the contents of acme/widgets: give it the permission Contents" in (
        told.problem() or ""
    )
    told.put_status("is well")
    told.wait()
    assert (told.problem() or "").count("Contents: Read-only") == 1


def test_another_apps_key_is_said_in_one_sentence(
    told: Told, start_vcs: StartVcs, tmp_path: Path, sessions: sessionmaker[Session]
) -> None:
    log, (other, _) = tmp_path / "log", write_key(tmp_path)
    start_vcs(log, GITHUB_APP_KEY_FILE=str(other))
    told.put_status("is well")
    wait_until(told.problem, 60, "the overview says it")

    problem = told.problem() or ""
    assert problem.count("GitHub does not accept the GitHub App") == 1
    assert "GITHUB_APP_ID and GITHUB_APP_KEY_FILE have to be of the same App" in problem
    assert read_clone_token(sessions) == ""
    assert "Traceback" not in log.read_text()


def test_a_stored_token_goes_when_the_app_goes(
    told: Told, variables: dict[str, str], sessions: sessionmaker[Session], start_vcs: StartVcs
) -> None:
    with sessions.begin() as session:
        clone_tokens.store_token(session, REPOSITORY, "ghs_old", 3600)
    for name in ("GITHUB_APP_ID", "GITHUB_APP_KEY_FILE"):
        variables[name] = ""
    start_vcs()
    wait_until(lambda: not read_clone_token(sessions), 60, "the token is deleted")
    with sessions() as session:
        assert session.scalar(text("SELECT has_github_app FROM appliance")) is False
        assert pull_requests.load_state(session, REPOSITORY) is None
