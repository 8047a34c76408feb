"""The example repositories are what they say they are: called by hand, those that should work do."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.repositories import ModelRepository
from tests.models import working

BY_HAND = """
import sys
import pandas as pd
sys.path.append(".")
from main import entry_point
model = entry_point.train(pd.read_csv("data/train.csv"))
assert isinstance(model, bytes), type(model)
metrics = entry_point.evaluate(model, pd.read_csv("data/test.csv"))
assert all(float(value) >= 0 for value in metrics.values()), metrics
series = "series" in entry_point.info()["Type"]
answer = entry_point.predict(model, 3 if series else {"x": 1})
assert not series or len(answer) == 3, answer
"""
COMPLETE = [
    working.quick,
    working.numpy_metrics,
    working.dated_predictions,
    working.talkative,
    working.namesakes,
    working.html_in_info,
    working.module_state,
    working.regressor,
]


@pytest.mark.parametrize("build", COMPLETE, ids=lambda build: build.__name__)
def test_a_working_repository_works_by_hand(
    build: Callable[[], dict[str, str]], default_environment: Path, tmp_path: Path
) -> None:
    repository = ModelRepository(tmp_path / "model").write(build())

    # -I, and the folder last on the path: nothing but main.py's own imports finds the repository's modules
    python = default_environment / "bin" / "python"
    done = subprocess.run(
        [python, "-I", "-c", BY_HAND], check=False, cwd=repository.path, capture_output=True
    )

    assert done.returncode == 0, done.stderr.decode()


def test_a_merged_pull_request_is_a_merge_commit(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "model")
    first = repository.write(working.quick(smape=0.3)).commit("First model")

    merged = repository.merge_pull_request(1, working.quick(smape=0.2), "Better")

    assert repository.head == merged
    assert repository.git("rev-parse", "main^1") == first
    assert "0.2" in repository.git("show", "main:main.py")


def test_a_squashed_pull_request_is_one_commit(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "model")
    repository.write(working.quick()).commit("First model")

    merged = repository.merge_pull_request(1, working.quick(smape=0.2), "Better", squash=True)

    assert repository.git("rev-list", "--parents", "-n1", merged).count(" ") == 1
    assert repository.git("log", "-1", "--format=%s") == "Better (#1)"
