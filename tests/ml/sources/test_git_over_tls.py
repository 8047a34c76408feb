"""Clones over TLS with the GitHub App's token: from a private authority, and the token is left nowhere."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, update
from sqlalchemy.orm import Session, sessionmaker

from common.errors import LoginRefusedError, UnavailableError
from db import clone_tokens
from db.models import Release
from db.states import Status
from ml.settings import ModelConfig
from ml.sources import git_server
from tests.harness.git_https import GitHttps, serve_git
from tests.harness.repositories import ModelRepository
from tests.harness.waiting import wait_until
from tests.ml.conftest import Appliance
from tests.models import working

REPOSITORY = "acme/web-traffic"
FIRST, SECOND = "ghs_first-of-the-test", "ghs_second-of-the-test"
SessionsOf = Callable[[str], sessionmaker[Session]]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHttps]:
    monkeypatch.setenv("NO_PROXY", "*")
    with serve_git(tmp_path, tmp_path / "keys") as (made, authority):
        monkeypatch.setenv("GIT_SSL_CAINFO", str(authority))
        yield made


@pytest.fixture
def private(make_appliance: Callable[..., Appliance], server: GitHttps) -> Appliance:
    """One that follows a repository of that server."""
    return make_appliance(
        SLIPWAY_CLONE_URL=f"{server.url}/repository", GITHUB_API_URL=f"{server.url}/api/v3", GITHUB_TOKEN=""
    )


def store(sessions_of: SessionsOf, token: str) -> None:
    with sessions_of("vcs").begin() as session:
        clone_tokens.store_token(session, REPOSITORY, token, 3600)


def find(sessions_of: SessionsOf) -> str:
    with sessions_of("watch").begin() as session:
        return clone_tokens.find_token(session, REPOSITORY)


def list_leaks(folder: Path, token: str) -> str:
    """Return the files of a folder that have the token, followed by no link out of it."""
    searched = subprocess.run(
        ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", token, folder],
        check=False,
        capture_output=True,
        text=True,
    )
    return searched.stdout + searched.stderr


def test_a_clone_uses_the_apps_token_and_leaves_it_nowhere(
    private: Appliance,
    server: GitHttps,
    sessions_of: SessionsOf,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server.tokens = {FIRST}
    store(sessions_of, FIRST)
    commit = private.merge(working.quick(smape=0.2))
    private.settle()

    assert private.release(commit).status is Status.DEPLOYED, private.release(commit).reason
    assert {*server.used} == {FIRST}
    assert [one for one in server.arguments if "remote-https" in one]
    assert not [one for one in server.arguments if FIRST in one]
    assert list_leaks(private.settings.home, FIRST) == ""
    assert "release 1" in (printed := "".join(capfd.readouterr()))
    assert FIRST not in printed
    (private.settings.home / "repositories/left").write_text(f"token = {FIRST}\n")
    assert "repositories/left" in list_leaks(private.settings.home, FIRST)


def test_a_revoked_token_is_used_once_and_asked_for_anew(
    private: Appliance, server: GitHttps, sessions_of: SessionsOf
) -> None:
    server.tokens = {SECOND}
    store(sessions_of, FIRST)
    commit = private.merge(working.quick(smape=0.2))
    wait_until(lambda: private.look() or not find(sessions_of), 60, "the revoked token is deleted")
    wait_until(lambda: private.look() or private.release(commit).reason, 60, "the release waits")
    assert "Authentication failed" in (private.release(commit).reason or "")

    store(sessions_of, SECOND)  # as vcs does when it is deleted
    with private.sessions.begin() as session:
        session.execute(update(Release).values(due_at=func.now()))
    private.settle()
    assert private.release(commit).status is Status.DEPLOYED
    assert server.used.count(FIRST) == 1


@pytest.mark.parametrize(
    ("token", "error", "part"),
    [(FIRST, None, ""), ("ghs_other", LoginRefusedError, "failed"), ("", UnavailableError, "Username")],
)
def test_only_the_token_opens_the_repository(
    token: str, error: type[Exception] | None, part: str, server: GitHttps, tmp_path: Path
) -> None:
    repository = ModelRepository(tmp_path / "repository")
    server.tokens = {FIRST}
    model = ModelConfig("web-traffic", REPOSITORY, f"{server.url}/repository", "main")
    host = server.url.removeprefix("https://")
    if error is None:
        assert repository.head in git_server.list_refs(model, "refs/heads/main", token=token, host=host)
    else:
        with pytest.raises(error, match=part):
            git_server.list_refs(model, "refs/heads/main", token=token, host=host)


def test_a_server_of_an_unknown_authority_gets_no_token(
    server: GitHttps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ModelRepository(tmp_path / "repository")
    server.tokens = {FIRST}
    monkeypatch.delenv("GIT_SSL_CAINFO")
    model = ModelConfig("web-traffic", REPOSITORY, f"{server.url}/repository", "main")
    with pytest.raises(UnavailableError, match="certificate"):
        git_server.list_refs(model, "refs/heads/main", token=FIRST, host=server.url.removeprefix("https://"))
    assert server.used == []
