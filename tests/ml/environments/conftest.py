"""An appliance's home and an index, for tests that resolve and install in this process."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml.home import Home
from ml.manifest import Resources
from ml.runner import sandbox
from ml.settings import Model, Settings
from ml.stages import environment
from ml.stages.environment import Resolved
from tests.support.shelf import Shelf, serving

MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"


@dataclass
class Installer:
    """Resolves and installs what repositories of several models require, as builders do."""

    settings: Settings
    home: Home
    repositories: Path

    def resolve(self, files: Mapping[str, str], model: str = "one") -> Resolved:
        number = len([*self.repositories.iterdir()]) + 1
        source = self.repositories / str(number) / "source"
        for name, text in files.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        return environment.resolve(source, self.home, self.log, self.held(model))

    def build(self, resolved: Resolved, model: str = "one") -> Path:
        return environment.build(resolved, self.home, self.log, self.held(model))

    def held(self, model: str) -> sandbox.Sandbox:
        return sandbox.of(self.settings, Model(model, f"acme/{model}", "", "main"), Resources())

    @property
    def log(self) -> Path:
        return self.home.root / "releases/1/logs/environment.log"

    def module(self, environment: Path, name: str) -> str:
        return (environment / f"lib/{MINOR}/site-packages/{name}/__init__.py").read_text()


@pytest.fixture
def make_installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Installer]:
    def make(**variables: str) -> Installer:
        home = tmp_path / "home"
        told = {"DATABASE_URL": "postgresql://a@127.0.0.1/b", "SLIPWAY_HOME": str(home), **variables}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        (home / "releases").mkdir(parents=True)
        settings = Settings()  # type: ignore[call-arg]
        return Installer(settings, Home(settings.home.absolute()), home / "releases")

    return make


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with serving() as made:
        yield made


@pytest.fixture
def other_shelf() -> Iterator[Shelf]:
    with serving() as made:
        yield made
