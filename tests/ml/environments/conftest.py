"""An appliance's home and an index, for tests that resolve and install in this process."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml.environments import environments
from ml.environments.locked_environment import LockedEnvironment
from ml.manifest import Resources
from ml.paths import HomeLayout
from ml.sandbox import sandbox
from ml.settings import MlSettings, ModelConfig
from tests.harness.shelf import Shelf, serving

MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"


@dataclass
class Installer:
    """Resolves and installs what repositories of several models require, as builders do."""

    settings: MlSettings
    home: HomeLayout
    repositories: Path

    def resolve(self, files: Mapping[str, str | bytes], model: str = "one") -> LockedEnvironment:
        return environments.resolve_environment(self.write(files), self.home, self.log, self.held(model))

    def write(self, files: Mapping[str, str | bytes]) -> Path:
        """Write a repository; gives its folder, that of the newest release."""
        source = self.repositories / str(self.newest() + 1) / "source"
        source.mkdir(parents=True)
        return write_files(source, files)

    def build(self, resolved: LockedEnvironment, model: str = "one") -> Path:
        """Install what the newest release resolved to."""
        source = self.repositories / str(max(self.newest(), 1)) / "source"
        return environments.build_environment(resolved, self.home, self.log, self.held(model), source)

    def newest(self) -> int:
        return max((int(path.parent.name) for path in self.repositories.glob("*/source")), default=0)

    def modules(self, files: Mapping[str, str | bytes]) -> set[str]:
        """The names of the packages that a repository's environment has."""
        made = self.build(self.resolve(files)) / f"lib/{MINOR}/site-packages"
        return {path.name.partition("-")[0] for path in made.glob("*.dist-info")}

    def held(self, model: str) -> sandbox.Sandbox:
        return sandbox.sandbox_for(
            self.settings, ModelConfig(model, f"acme/{model}", "", "main"), Resources()
        )

    @property
    def log(self) -> Path:
        return self.home.root / "releases/1/logs/environment.log"

    def module(self, environment: Path, name: str) -> str:
        return (environment / f"lib/{MINOR}/site-packages/{name}/__init__.py").read_text()


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else os.fsencode(text))
    return folder


@pytest.fixture
def make_installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Installer]:
    def make(**variables: str) -> Installer:
        home = tmp_path / "home"
        told = {"DATABASE_URL": "postgresql://a@127.0.0.1/b", "SLIPWAY_HOME": str(home), **variables}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        (home / "releases").mkdir(parents=True)
        settings = MlSettings()  # type: ignore[call-arg]
        return Installer(settings, HomeLayout(settings.home.absolute()), home / "releases")

    return make


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with serving() as made:
        yield made


@pytest.fixture
def other_shelf() -> Iterator[Shelf]:
    with serving() as made:
        yield made
