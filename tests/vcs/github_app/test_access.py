"""The App's tokens: one an installation, renewed in time, whatever the clock; errors in a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
from loguru import logger

from common.settings import load_settings
from resources.demo.github import FakeApp, FakeGitHub, GitHubFault
from tests.vcs.conftest import REPOSITORY, SettingsOf
from tests.vcs.github_app.conftest import APP_ID, write_key
from vcs.github_app import AppError, BadAppError, KeyFileError, open_access
from vcs.github_app.installations import AppAccess
from vcs.settings import VcsSettings


def test_one_token_is_used_until_it_is_about_to_expire(access: AppAccess, app: FakeApp) -> None:
    first = access.get_token(REPOSITORY)
    assert access.get_token(REPOSITORY) == first
    assert len(app.tokens) == 1

    app.token_seconds = 500
    access.drop_tokens()
    short = access.get_token(REPOSITORY)
    assert access.get_token(REPOSITORY) != short
    assert first in access.list_secrets()


@pytest.mark.parametrize("seconds", [-86_400, -61, 0, 61, 86_400])
def test_a_clock_that_is_wrong_stops_nothing(seconds: int, access: AppAccess, github: FakeGitHub) -> None:
    github.clock_offset_seconds = seconds

    assert access.get_token(REPOSITORY).startswith("ghs_")
    token = access.get_token(REPOSITORY)
    assert access.get_token(REPOSITORY) == token


def test_a_token_for_clones_reads_contents_of_one_repository(access: AppAccess, app: FakeApp) -> None:
    app.repositories.add("acme/secret-recipes")

    made = access.create_clone_token(REPOSITORY)

    issued = app.tokens[made.token]
    assert (issued.permissions, issued.repositories) == ({"contents": "read"}, {REPOSITORY})
    assert 3500 < made.seconds_left < 3700
    assert made.token not in repr(access)


def test_the_bot_is_the_account_of_the_app(access: AppAccess) -> None:
    assert access.find_bot() == "slipway-of-acme[bot]"


def test_an_app_that_is_not_installed_is_named(access: AppAccess, app: FakeApp) -> None:
    app.repositories.clear()
    with pytest.raises(AppError, match="not installed for acme/widgets: install it"):
        access.get_token(REPOSITORY)

    app.repositories.add(REPOSITORY)
    assert access.get_token(REPOSITORY)


def test_an_app_that_is_installed_anew_is_found_again(access: AppAccess, app: FakeApp) -> None:
    access.get_token(REPOSITORY)
    app.installation += 1
    access.drop_tokens()
    assert access.get_token(REPOSITORY)

    app.installation += 1
    access._tokens.clear()
    with pytest.raises(AppError):
        access.get_token(REPOSITORY)
    assert access.get_token(REPOSITORY)


def test_what_the_app_lacks_is_named(access: AppAccess, app: FakeApp) -> None:
    del app.permissions["contents"]
    with pytest.raises(AppError, match="Contents: Read-only"):
        access.create_clone_token(REPOSITORY)

    app.is_suspended = True
    with pytest.raises(AppError, match="suspended"):
        access.get_token(REPOSITORY)


def test_another_key_or_id_gets_one_sentence(
    settings_of: SettingsOf, settings: VcsSettings, app: FakeApp, tmp_path: Path
) -> None:
    other = settings_of(github_token="", github_app_id=APP_ID, github_app_key_file=write_key(tmp_path)[0])
    with pytest.raises(BadAppError, match=r"could not be decoded.*GITHUB_APP_ID and GITHUB_APP_KEY_FILE"):
        open_access(other).get_token(REPOSITORY)

    app.id += 1
    with pytest.raises(BadAppError, match=r"Integration not found.*GITHUB_APP_ID"):
        open_access(settings).get_token(REPOSITORY)


def test_a_lost_answer_makes_no_harm(access: AppAccess, github: FakeGitHub) -> None:
    for kind in ("server-error", "truncated", "dropped", "html"):
        github.write_faults.arm(GitHubFault(kind, times=1, match="access_tokens"))
        with pytest.raises(Exception, match=r"it answers 500|no JSON|RemoteProtocolError"):
            access.get_token(REPOSITORY)
    assert access.get_token(REPOSITORY)


@pytest.mark.parametrize(
    ("content", "cause"),
    [(None, "cannot be read .No such file"), (b"", "no private key"), (b"-----BEGIN RSA", "no private key")],
)
def test_a_key_file_that_is_none_is_named(
    content: bytes | None, cause: str, settings_of: SettingsOf, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KeyFileError, match=cause):
        open_access(settings_of(github_app_id=1, github_app_key_file=path))


def test_a_key_that_others_can_read_is_advised_against(settings_of: SettingsOf, tmp_path: Path) -> None:
    logged: list[str] = []
    sink = logger.add(logged.append)
    path, _ = write_key(tmp_path)
    open_access(settings_of(github_app_id=1, github_app_key_file=path))
    assert logged == []

    path.chmod(0o644)
    open_access(settings_of(github_app_id=1, github_app_key_file=path))
    logger.remove(sink)
    assert [line for line in logged if f"run chmod 600 {path}" in line] == logged != []


def test_half_an_app_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_APP_ID", "1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/x")
    with pytest.raises(SystemExit, match="set both GITHUB_APP_ID and GITHUB_APP_KEY_FILE"):
        load_settings(VcsSettings)


def test_without_an_app_its_libraries_are_not_loaded() -> None:
    program = "import sys, vcs.app, vcs.__main__; print({'jwt', 'cryptography'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
