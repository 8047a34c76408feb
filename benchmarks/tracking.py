"""What MLflow adds to a release: seconds from its end until it is told, and memory of who tells it.

The same commit is trained again and again, by turns with MLflow on and with its server stopped.
"""

import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

import httpx
import psutil

from cli.postgres import Postgres
from common import token
from tests.support import mlflow
from tests.support.appliance import Running
from tests.support.waiting import wait_until

ROUNDS = 5
TOLD, MEMORY = 1.0, 150  # bars: seconds, MiB


def main() -> bool:
    """Whether the bars were met."""
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
            told, with_it, without = [], [], []
            for _ in range(ROUNDS):
                number = train(running)
                told.append(lag(running, number))
                with_it.append(took(running, number))
                server.stop()
                without.append(took(running, train(running)))
                server.start()
                time.sleep(5)
            print(f"  {'from its end until it is told':32} {quartiles(told)}     (bar: at most {TOLD:g} s)")
            print(f"  {'a release, MLflow there':32} {quartiles(with_it)}")
            print(f"  {'a release, MLflow away':32} {quartiles(without)}")
            memory = rest(running)
            print(f"  {'look-out and tracker at rest':32} {memory:5.0f} MiB     (bar: at most {MEMORY} MiB)")
        finally:
            running.end()
            server.stop()
            postgres.stop()
    return statistics.median(told) <= TOLD and memory <= MEMORY


def train(running: Running) -> int:
    """Train once more; the number of the release, when it has ended and is live."""
    headers = {"Authorization": f"Bearer {token.kept(running.home)}"}
    url = f"http://127.0.0.1:{running.serve}"
    path = "/models/encyclopedia-visits/train"
    answer = httpx.post(url + path, headers=headers, json={"who": "benchmark"}, trust_env=False)
    number = int(answer.raise_for_status().json()["id"])
    wait_until(lambda: running.get("/").json()["release"] == number, 120, "it is live")
    return number


def lag(running: Running, number: int) -> float:
    """Seconds from the end of a release until MLflow knows all of it."""

    def told() -> dict[str, str] | None:
        document = running.get(f"/releases/{number}").json()
        return document if document["mlflow"] and document["mlflow"]["told_at"] else None

    document = wait_until(told, 60, "it is told")
    assert document is not None
    ended, heard = document["finished_at"], document["mlflow"]["told_at"]
    return (datetime.fromisoformat(heard) - datetime.fromisoformat(ended)).total_seconds()


def took(running: Running, number: int) -> float:
    """Seconds from a release's start until it was live."""
    document = running.get(f"/releases/{number}").json()
    start, end = document["started_at"], document["deployment"]["live_at"]
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def rest(running: Running) -> float:
    """MiB (PSS) of the look-out and of what tells MLflow, with their leashes, when nothing is told."""
    time.sleep(5)
    watch = running.service("ml.watch")
    assert watch is not None
    found = [watch, *watch.children(recursive=True), *([watch.parent()] if watch.parent() else [])]
    return sum(each.memory_full_info().pss for each in found if isinstance(each, psutil.Process)) / (1 << 20)


def quartiles(times: list[float]) -> str:
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{middle:5.2f} s  (quartiles {low:.2f} to {high:.2f})"
