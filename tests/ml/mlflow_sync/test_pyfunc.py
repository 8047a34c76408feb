"""A release in MLflow's registry is a model of MLflow's: it loads, predicts the same, and can be served."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.version import VERSION

from db.models import Release
from tests.harness import plain_http
from tests.harness.waiting import free_port, wait_until
from tests.ml.mlflow_sync.conftest import Tracked
from tests.models import files

REQUIREMENTS = f"pandas\nmlflow-skinny=={VERSION}\nuvicorn\nfastapi\n"
TYPED = """
from dataclasses import dataclass
import beside

@dataclass
class House:
    rooms: int
    area: float
    garden: bool = False
"""
ASK = """
import json, sys
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
given = json.loads(sys.argv[2])
print(json.dumps([model.predict(pandas.DataFrame(each) if isinstance(each, list) else each["value"])
                  for each in given]))
"""


def untyped() -> dict[str, str]:
    """A time series whose predict() takes a number of days."""
    return {**files(), "requirements.txt": REQUIREMENTS}


def typed() -> dict[str, str]:
    """predict() takes a dataclass; it opens a file and imports a module beside itself."""
    found = files(
        head=TYPED,
        predict="    base = float(open('base.txt').read())\n"
        "    return features.rooms * 100 + features.area * beside.PRICE + base\n",
        info="    return {'Name': 'Houses', 'Type': 'Regression'}",
    )
    found["main.py"] = found["main.py"].replace("model, features)", "model, features: House)")
    return {**found, "requirements.txt": REQUIREMENTS, "beside.py": "PRICE = 2.0\n", "base.txt": "0.5\n"}


def environment(tracked: Tracked, release: Release) -> Path:
    return tracked.appliance.settings.home.absolute() / "environments" / str(release.environment)


def variables(tracked: Tracked, python: Path) -> dict[str, str]:
    """A person's, who may see all."""
    person = {
        "MLFLOW_TRACKING_URI": tracked.server.url,
        "MLFLOW_TRACKING_USERNAME": "operator",
        "MLFLOW_TRACKING_PASSWORD": tracked.server.operator_password,
    }
    return {**os.environ, **person, "PATH": f"{python}/bin:{os.environ['PATH']}", "PYTHONPATH": ""}


def ask(tracked: Tracked, release: Release, folder: Path, given: list[Any], code: str = ASK) -> list[Any]:
    """The predictions of `models:/NAME@prod`, in another process, elsewhere."""
    python = environment(tracked, release)
    answered = subprocess.run(
        [python / "bin/python", "-c", code, f"models:/{tracked.model}@prod", json.dumps(given)],
        env=variables(tracked, python),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answered.returncode == 0, answered.stderr
    found: list[Any] = json.loads(answered.stdout.splitlines()[-1])
    return found


@pytest.fixture
def published(tracked: Tracked) -> Callable[[dict[str, str]], Release]:
    def publish(repository: dict[str, str]) -> Release:
        release = tracked.live(repository)
        tracked.told()
        return release

    return publish


def test_an_untyped_model_loads_and_predicts_the_same(
    tracked: Tracked, published: Callable[[dict[str, str]], Release], tmp_path: Path
) -> None:
    release = published(untyped())
    by_table, by_list = ask(tracked, release, tmp_path, [[{"num_days": 3}], {"value": [1, 2]}])
    assert by_table == [[20.0] * 3]
    assert by_list == [[20.0], [20.0] * 2]


def test_two_releases_in_one_process_keep_their_own_code(tracked: Tracked, tmp_path: Path) -> None:
    plain = untyped()
    tracked.live(plain)
    changed = plain["main.py"].replace("return [pickle.loads(model)]", "return [1 + pickle.loads(model)]")
    release = tracked.live({**plain, "main.py": changed, "odd #name?.txt": "kept\n"})
    tracked.told()
    both = ASK.replace("sys.argv[1]", "sys.argv[1].replace('prod', 'previous')") + "first = model\n" + ASK
    both += "print(json.dumps([first.predict([1]), model.predict([1])]))\n"
    assert ask(tracked, release, tmp_path, [{"value": [1]}], both) == [[[20.0]], [[21.0]]]


def test_a_typed_model_loads_and_predicts_the_same(
    tracked: Tracked, published: Callable[[dict[str, str]], Release], tmp_path: Path
) -> None:
    release = published(typed())
    rows = [{"rooms": 3, "area": 70.5}, {"rooms": 2, "area": 10.0}]
    [predicted] = ask(tracked, release, tmp_path, [rows])
    assert predicted == [300 + 141 + 0.5, 200 + 20 + 0.5]


def test_mlflow_models_serve_and_generate_dockerfile_work_on_it(
    tracked: Tracked, published: Callable[[dict[str, str]], Release], tmp_path: Path
) -> None:
    release = published(typed())
    python, port = environment(tracked, release), free_port()
    mlflow, named = [python / "bin/mlflow", "models"], ["-m", f"models:/{tracked.model}@prod"]
    person = variables(tracked, python)
    image = tmp_path / "image"
    subprocess.run([*mlflow, "generate-dockerfile", *named, "-d", image], env=person, check=True)
    assert "COPY model_dir /opt/ml/model" in (image / "Dockerfile").read_text()
    for part in ("MLmodel", "requirements.txt", "slipway/repository.zip"):
        assert (image / "model_dir" / part).is_file()
    command = [*mlflow, "serve", *named]
    with (tmp_path / "log").open("wb") as log:
        serving = subprocess.Popen(
            [*command, "-p", str(port), "-h", "127.0.0.1", "--env-manager", "local"],
            env=person,
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert serving.poll() is None, (tmp_path / "log").read_text()
        try:
            return plain_http.get(f"{url}/ping", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, 60, "mlflow models serve answers")
        asked = {"dataframe_records": [{"rooms": 3, "area": 70.5}]}
        answer = plain_http.post(f"{url}/invocations", json=asked, trust_env=False)
        assert answer.json() == {"predictions": [441.5]}, answer.text
    finally:
        os.killpg(serving.pid, 15)
        serving.wait()
