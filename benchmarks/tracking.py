"""The cost of MLflow: seconds from a release's end until it is exported, and memory of the exporter.

The same commit is trained again and again, by turns with MLflow on and with its server stopped.
"""

import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from cli.up.postgres import Postgres
from common.auth import operator_token
from tests.harness import mlflow
from tests.harness.appliance import Running
from tests.harness.waiting import wait_until

ROUNDS = 5
MAX_EXPORT_SECONDS, MAX_MEMORY_MIB = 1.0, 150


def main() -> bool:
    """Run the benchmark; return True when the bars were met."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        postgres = Postgres(Path(folder) / "postgres").start()
        server = mlflow.start(postgres, Path(folder) / "mlflow")
        variables = {
            "MLFLOW_TRACKING_URI": server.url,
            "MLFLOW_TRACKING_USERNAME": "slipway",
            "MLFLOW_TRACKING_PASSWORD": server.appliance_password,
        }
        running = Running(Path(folder), **variables)
        try:
            running.checkout()
            wait_until(running.live, 300, "a live release")
            delays, with_mlflow, without_mlflow = [], [], []
            for _ in range(ROUNDS):
                number = train_again(running)
                delays.append(measure_export_delay(running, number))
                with_mlflow.append(measure_release(running, number))
                server.stop()
                without_mlflow.append(measure_release(running, train_again(running)))
                server.start()
                time.sleep(5)
            bar = f"(bar: at most {MAX_EXPORT_SECONDS:g} s)"
            print(f"  {'from its end until exported':32} {format_quartiles(delays)}     {bar}")
            print(f"  {'a release, MLflow running':32} {format_quartiles(with_mlflow)}")
            print(f"  {'a release, MLflow stopped':32} {format_quartiles(without_mlflow)}")
            memory = measure_idle_memory(running)
            bar = f"(bar: at most {MAX_MEMORY_MIB} MiB)"
            print(f"  {'controller and exporter at rest':32} {memory:5.0f} MiB     {bar}")
        finally:
            running.end()
            server.stop()
            postgres.stop()
    return statistics.median(delays) <= MAX_EXPORT_SECONDS and memory <= MAX_MEMORY_MIB


def train_again(running: Running) -> int:
    """Train once more and wait until the release is live; return its number."""
    headers = {"Authorization": f"Bearer {operator_token.read_stored(running.home)}"}
    url = f"http://127.0.0.1:{running.serve}"
    path = "/models/encyclopedia-visits/train"
    answer = httpx.post(url + path, headers=headers, json={"who": "benchmark"}, trust_env=False)
    number = int(answer.raise_for_status().json()["id"])
    wait_until(lambda: running.get("/").json()["release"] == number, 120, "it is live")
    return number


def measure_export_delay(running: Running, number: int) -> float:
    """Return the seconds from the end of a release until it is exported to MLflow."""

    def find_exported() -> dict[str, Any] | None:
        document = running.get(f"/releases/{number}").json()
        return document if document["mlflow"] and document["mlflow"]["told_at"] else None

    document = wait_until(find_exported, 60, "it is exported")
    assert document is not None
    ended, exported = document["finished_at"], document["mlflow"]["told_at"]
    return (datetime.fromisoformat(exported) - datetime.fromisoformat(ended)).total_seconds()


def measure_release(running: Running, number: int) -> float:
    """Return the seconds from a release's start until it was live."""
    document = running.get(f"/releases/{number}").json()
    start, end = document["started_at"], document["deployment"]["live_at"]
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def measure_idle_memory(running: Running) -> float:
    """Return the MiB (PSS) of the idle controller and MLflow exporter, with their process guards."""
    time.sleep(5)
    watch = running.service("ml.controller")
    assert watch is not None
    found = [watch, *watch.children(recursive=True), *([watch.parent()] if watch.parent() else [])]
    return sum(each.memory_full_info().pss for each in found if isinstance(each, psutil.Process)) / (1 << 20)


def format_quartiles(times: list[float]) -> str:
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{middle:5.2f} s  (quartiles {low:.2f} to {high:.2f})"
