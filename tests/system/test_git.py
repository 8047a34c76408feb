"""A repository on a disk, without GitHub: each push goes live, that of a rewritten branch too."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.appliance import ROOT, Running
from tests.harness.repositories import AUTHOR, ModelRepository
from tests.harness.waiting import wait_until
from tests.models import working


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """What a person works in; it is pushed to a bare repository beside it."""
    made = ModelRepository(tmp_path / "work")
    made.git("init", "--quiet", "--bare", str(tmp_path / "churn.git"))
    made.git("remote", "add", "origin", str(tmp_path / "churn.git"))
    return made


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    started = Running(tmp_path, SLIPWAY_REPOSITORY=f"file://{tmp_path}/churn.git")
    yield started
    started.end()


def push(running: Running, repository: ModelRepository, title: str, *, smape: float, value: float) -> str:
    """Push a model, call for a sync, and wait until it is live; gives its commit."""
    commit = repository.write(working.quick(smape, value)).commit(title)
    repository.git("push", "--quiet", "--force", "origin", "main")
    assert running.checkout()["newest_merge"]["commit"] == commit
    wait_until(lambda: running.live().get("commit") == commit, 120, f"{title} is live")
    assert running.get("/predict?num_days=2").json()["prediction"] == [value, value]
    return commit


def test_what_is_pushed_goes_live(running: Running, repository: ModelRepository) -> None:
    assert "Push to the branch" in running.get("/", "text/html").text
    assert running.checkout()["newest_merge"] is None

    first = push(running, repository, "First model", smape=0.3, value=1.0)
    assert running.live()["repository"] == "local/churn"
    assert running.live()["metrics"]["SMAPE"] == pytest.approx(0.3)
    page = running.get("/", "text/html").text
    assert "First model" in page
    assert "pull request" not in page

    push(running, repository, "Better", smape=0.2, value=2.0)
    assert running.live()["metrics"]["SMAPE"] == pytest.approx(0.2)

    repository.git("reset", "--quiet", "--hard", first)
    push(running, repository, "Rewritten", smape=0.1, value=3.0)
    assert [release["status"] for release in running.get("/releases").json()["releases"]] == ["deployed"] * 3
    assert {release["trigger"] for release in running.get("/releases").json()["releases"]} == {"push"}
    assert running.checkout()["rows"] == 0


def test_the_page_for_ones_own_model_is_true(
    running: Running, repository: ModelRepository, tmp_path: Path
) -> None:
    """Its commands, in a folder of the test's, beside the bare repository that they clone."""
    page = (ROOT / "docs/your-own-model.md").read_text()
    commands = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    push = next(block for block in commands if block.startswith("git clone"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **AUTHOR}
    subprocess.run(["bash", "-euc", push], cwd=tmp_path, env=environment, check=True)
    running.checkout()

    wait_until(running.live, 120, "the model is live")
    assert running.live()["title"] == "First model"
    answer = running.post("/predict", {"age": 41, "visits": 3})
    assert answer.json()["prediction"] in (0, 1)
