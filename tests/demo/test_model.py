"""The example model, called by hand as a data scientist would, in the appliance's default environment."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from resources.demo import generate
from resources.demo.pull_requests import EXAMPLE_FOLDER, make_proposal

ROOT = Path(__file__).parents[2]
BY_HAND = """
import json, math, sys
import numpy as np
import pandas as pd
sys.path.append(".")
from main import entry_point
sys.path.append(ROOT)
from ml.model_host.schema import learn_schema

train, test = pd.read_csv("data/train.csv"), pd.read_csv("data/test.csv")
model = entry_point.train(train)
metrics = entry_point.evaluate(model, test)
refused = {}
for features in (0, -3, 10**9, "many", None, [7], float("nan"), float("inf")):
    try:
        entry_point.predict(model, features)
    except ValueError as error:
        refused[repr(features)] = str(error)
week = entry_point.predict(model, 7)
print()
print(json.dumps({
    "bytes": len(model),
    "numpy": all(isinstance(value, np.floating) for value in metrics.values()),
    "metrics": {name: float(value) for name, value in metrics.items()},
    "refused": refused,
    "days": [str(day.date()) for day, _ in week],
    "kinds": sorted({f"{type(day).__name__} {type(visits).__name__}" for day, visits in week}),
    "years": [float(visits) for _, visits in entry_point.predict(model, 3660)],
    "info": entry_point.info(),
    "takes": learn_schema(entry_point.predict).schema,
}))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    generate.main(folder)
    return folder


def run(number: int, data: Path, folder: Path, environment: Path) -> subprocess.CompletedProcess[str]:
    (folder / "main.py").write_text(make_proposal(number).render_main())
    (folder / "data").symlink_to(data)
    python, by_hand = environment / "bin" / "python", BY_HAND.replace("ROOT", repr(str(ROOT)))
    return subprocess.run([python, "-c", by_hand], check=False, cwd=folder, capture_output=True, text=True)


def answer(number: int, data: Path, folder: Path, environment: Path) -> Any:
    folder.mkdir()
    done = run(number, data, folder, environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_data_is_the_same_every_time(data: Path, tmp_path: Path) -> None:
    generate.main(tmp_path)

    for name in ("train.csv", "test.csv"):
        assert (tmp_path / name).read_bytes() == (data / name).read_bytes()


def test_the_data_is_wide_and_small_and_tests_follow_training(data: Path) -> None:
    train, test = ((data / name).read_text().splitlines() for name in ("train.csv", "test.csv"))

    assert len(train) == len(test) == 1 + 240
    assert train[0].split(",")[:2] == ["Page", "2023-01-01"]
    assert train[0].split(",")[-1] < test[0].split(",")[1]
    assert sum((data / name).stat().st_size for name in ("train.csv", "test.csv")) < 1_000_000


def test_the_first_model_does_what_the_interface_says(
    data: Path, tmp_path: Path, default_environment: Path
) -> None:
    first = answer(1, data, tmp_path / "first", default_environment)

    assert first["numpy"]
    assert 0.2 < first["metrics"]["SMAPE"] < 0.5
    assert first["bytes"] < 5_000_000
    assert first["days"] == [f"2025-01-0{day}" for day in range(1, 8)]
    assert first["kinds"] == ["Timestamp float64"]
    assert len(first["years"]) == 3660
    assert min(first["years"]) >= 0
    assert (first["takes"]["minimum"], first["takes"]["maximum"]) == (1, 3660)
    assert first["info"]["Type"] == "Time series regressor"
    assert "synthetic" in first["info"]["Data"]


def test_a_silly_number_of_days_is_refused_with_a_reason(
    data: Path, tmp_path: Path, default_environment: Path
) -> None:
    refused = answer(1, data, tmp_path / "first", default_environment)["refused"]

    assert len(refused) == 8
    assert (
        refused["0"] == refused["-3"].replace("-3", "0") == "between 1 and 3660 days can be forecast, not 0"
    )
    assert refused["'many'"] == "features is the number of days to forecast, not 'many'"


def test_better_is_better_and_worse_is_worse(data: Path, tmp_path: Path, default_environment: Path) -> None:
    def smape(number: int) -> float:
        found = answer(number, data, tmp_path / str(number), default_environment)
        assert found["bytes"] < 5_000_000
        return float(found["metrics"]["SMAPE"])

    first, better, worse, better_again, worse_again, best = (smape(number) for number in (1, 2, 3, 5, 6, 8))

    assert better < 0.5 * first
    assert worse > 1.2 * first
    assert better_again < 0.5 * better
    assert worse_again > 2 * better_again
    assert best < better_again


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (4, "ValueError: train_data has no column Article"),
        (7, "No module named 'lightgbm'"),
        (10, "NoneType"),
    ],
)
def test_broken_is_broken(
    number: int, says: str, data: Path, tmp_path: Path, default_environment: Path
) -> None:
    done = run(number, data, tmp_path, default_environment)

    assert make_proposal(number).kind == "broken"
    assert done.returncode != 0
    assert says in done.stderr


def test_there_is_always_another_pull_request() -> None:
    proposals = [make_proposal(number) for number in range(1, 101)]

    assert len({change.branch for change in proposals}) == 100
    assert len({change.render_main() for change in proposals}) > 40
    assert (EXAMPLE_FOLDER / "main.py").read_text() == proposals[0].render_main()
    for change in proposals:
        compile(change.render_main(), "main.py", "exec")
