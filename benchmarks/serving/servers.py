"""The compared servers, each as its documentation recommends, in an environment of its own."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import environments, processes, slipway
from benchmarks.serving.environments import FOLDER, PROGRAMS
from benchmarks.serving.processes import Command, Server
from tests.harness.waiting import free_port

ROW = [0.1, 0.2, 0.3, 0.4, 0.5]
V2 = {"inputs": [{"name": "predict", "shape": [1, 5], "datatype": "FP64", "data": ROW}]}


@dataclass(frozen=True)
class Kind:
    """A kind of model server; `start` gets the environment and the number of trees."""

    title: str
    packages: tuple[str, ...]
    start: Callable[[Path, int], Server]


def by_hand(environment: Path, trees: int) -> Server:
    port = str(free_port())
    quick = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    command: Command = [
        environment / "bin/uvicorn",
        "by_hand:app",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        *quick,
    ]
    return started("by-hand", command, environment, trees, address=f"{port}/predict", body={"x": ROW})


def mlflow(environment: Path, trees: int) -> Server:
    port, model = str(free_port()), environment / f"model-{trees}"
    if not model.exists():
        python = environment / "bin/python"
        environments.run(
            python, PROGRAMS / "save_for_mlflow.py", environments.forest(environment, trees), model
        )
    command: Command = [
        environment / "bin/mlflow",
        "models",
        "serve",
        "-m",
        model,
        "--env-manager",
        "local",
    ]
    command += ["-h", "127.0.0.1", "-p", port, "-w", "1"]
    return started(
        "mlflow", command, environment, trees, address=f"{port}/invocations", body={"inputs": [ROW]}
    )


def bentoml(environment: Path, trees: int) -> Server:
    port = str(free_port())
    command: Command = [
        environment / "bin/bentoml",
        "serve",
        "bento:Forest",
        "--host",
        "127.0.0.1",
        "--port",
        port,
    ]
    return started("bentoml", command, environment, trees, address=f"{port}/predict", body={"x": [ROW]})


def litserve(environment: Path, trees: int) -> Server:
    port = str(free_port())
    command: Command = [environment / "bin/python", "lit.py", port]
    return started("litserve", command, environment, trees, address=f"{port}/predict", body={"x": ROW})


def mlserver(environment: Path, trees: int) -> Server:
    """Start MLServer without parallel workers, as its documentation recommends for a quick model."""
    ports = {name: free_port() for name in ("http", "grpc", "metrics")}
    folder = FOLDER / f"mlserver-{trees}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(environments.forest(environment, trees), folder / "model.joblib")
    model = {
        "name": "forest",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "max_batch_size": 64,
        "max_batch_time": 0.002,
        "parameters": {"uri": "./model.joblib"},
    }
    settings: dict[str, object] = {f"{name}_port": port for name, port in ports.items()}
    settings |= {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, "metrics_endpoint": None}
    (folder / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps(settings))
    command: Command = [environment / "bin/mlserver", "start", folder]
    return started(
        "mlserver", command, environment, trees, address=f"{ports['http']}/v2/models/forest/infer", body=V2
    )


def started(
    name: str, command: Command, environment: Path, trees: int, *, address: str, body: object
) -> Server:
    home = FOLDER / "home"
    home.mkdir(parents=True, exist_ok=True)
    variables = {
        "FOREST": str(environments.forest(environment, trees)),
        "HOME": str(home),
        "BENTOML_HOME": str(home / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{environment / 'bin'}:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    log = FOLDER / f"{name}.log"
    url = f"http://127.0.0.1:{address}"
    return processes.start(command, variables, url=url, body=json.dumps(body), log=log, cwd=PROGRAMS)


SKLEARN = "scikit-learn"
KINDS = {
    "by-hand": Kind(
        "FastAPI by hand", ("fastapi", "uvicorn[standard]", "uvloop", "httptools", SKLEARN), by_hand
    ),
    "mlflow": Kind("mlflow models serve", ("mlflow", SKLEARN), mlflow),
    "bentoml": Kind("BentoML, batching", ("bentoml", SKLEARN), bentoml),
    "litserve": Kind("LitServe, batching", ("litserve", SKLEARN), litserve),
    "mlserver": Kind("MLServer, batching", ("mlserver", "mlserver-sklearn"), mlserver),
    "slipway": Kind("Slipway, predict_batch", (SKLEARN,), slipway.batching),
    "slipway-unrecorded": Kind("Slipway, SLIPWAY_RECORD=0", (SKLEARN,), slipway.unrecorded),
    "slipway-plain": Kind("Slipway, predict alone", (SKLEARN,), slipway.plain),
}
