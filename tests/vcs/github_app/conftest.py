"""A GitHub App that is installed at the fake of GitHub, and vcs with its key and no token."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from resources.demo.github import FakeApp, FakeGitHub, FakePullRequests, create_server
from tests.harness.waiting import free_port
from tests.vcs.conftest import REPOSITORY, SettingsOf
from tests.vcs.outbox.conftest import start_vcs, told
from vcs.github_app import open_access
from vcs.github_app.installations import AppAccess
from vcs.settings import VcsSettings

__all__ = ["start_vcs", "told"]  # fixtures

APP_ID = 271828


def write_key(folder: Path, name: str = "app.pem") -> tuple[Path, str]:
    """Write a new private key as GitHub gives it; return the file, and the public key."""
    key = rsa.generate_private_key(65537, 2048)
    path = folder / name
    path.touch(0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return path, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return write_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def app(keys: tuple[Path, str]) -> FakeApp:
    return FakeApp(APP_ID, keys[1], {REPOSITORY})


@pytest.fixture
def github(pulls: FakePullRequests, app: FakeApp) -> Iterator[FakeGitHub]:
    with create_server(pulls, token="of nobody", app=app) as running:
        yield running


@pytest.fixture
def settings(settings_of: SettingsOf, keys: tuple[Path, str]) -> VcsSettings:
    return settings_of(github_token="", github_app_id=APP_ID, github_app_key_file=keys[0])


@pytest.fixture
def access(settings: VcsSettings) -> AppAccess:
    found = open_access(settings)
    assert isinstance(found, AppAccess)
    return found


@pytest.fixture
def variables(settings: VcsSettings) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name != "GITHUB_TOKEN"},
        "SLIPWAY_REPOSITORY": REPOSITORY,
        "SLIPWAY_PUBLIC_URL": "https://models.example.com/",
        "GITHUB_APP_ID": str(APP_ID),
        "GITHUB_APP_KEY_FILE": str(settings.github_app_key_file),
        "GITHUB_API_URL": settings.github_api_url,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "SLIPWAY_SINGER": str(settings.singer),
        "SLIPWAY_SYNC_SECONDS": "0",
        "VCS_PORT": str(free_port()),
    }
