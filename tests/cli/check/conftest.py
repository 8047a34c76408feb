"""`slipway` as a person calls it, with a SLIPWAY_HOME of the tests."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.appliance import INHERITED, ROOT, SLIPWAY
from tests.ml.conftest import CACHE

Slipway = Callable[..., subprocess.CompletedProcess[str]]

MAIN = """\
class Model:
    def train(self, train_data):
        return b"seven"

    def evaluate(self, model, test_data):
        return {"MAE": 0.25}

    def predict(self, model, features: int):
        return [model.decode(), features]

    def info(self):
        return {"Name": "Seven", "Type": "Generic"}


entry_point = Model()
"""
TOML = """\
[data]
train = "data/train.csv"
test = "data/test.csv"
format = "path"
[gate]
MAE = { better = "lower", max = 1 }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SLIPWAY_HOME for all tests here; uv's cache is shared with others."""
    made = tmp_path_factory.mktemp("home")
    (made / "check").mkdir()
    (CACHE / "cache").mkdir(parents=True, exist_ok=True)
    (made / "check/cache").symlink_to(CACHE / "cache")
    return made


@pytest.fixture
def variables(home: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a person's shell."""
    own = {name: os.environ[name] for name in INHERITED if name in os.environ}
    own |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return own | {"SLIPWAY_HOME": str(home), "HOME": str(tmp_path)}


@pytest.fixture
def slipway(variables: dict[str, str], tmp_path: Path) -> Slipway:
    def run(
        *arguments: str | Path, cwd: Path = tmp_path, prefix: tuple[str, ...] = (), **more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, *SLIPWAY, *map(str, arguments)],
            env=variables | more,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )

    return run


@pytest.fixture
def sevens(tmp_path: Path) -> Path:
    """The working tree of a model without packages, which is no git repository."""
    made = tmp_path / "Sevens"
    (made / "data").mkdir(parents=True)
    (made / "main.py").write_text(MAIN)
    (made / "slipway.toml").write_text(TOML)
    (made / "requirements.txt").write_text("# none\n")
    for name in ("train", "test"):
        (made / f"data/{name}.csv").write_text("a,b\n1,2\n")
    return made


def is_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It ends with 1 and one sentence."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("slipway: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Dana", "-c", "user.email=dana@example.com", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
