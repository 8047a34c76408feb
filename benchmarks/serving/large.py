"""The p99 of a model while another answers with the largest rows: `python -m benchmarks.serving.large`."""

import json
import statistics
import threading
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.serving import environments, slipway, wrk
from benchmarks.serving.environments import FOLDER
from benchmarks.serving.servers import KINDS
from benchmarks.serving.slipway import ROW, Served
from benchmarks.serving.table import quartiles
from tests.harness.repositories import ModelRepository

ROUNDS, SECONDS, CONNECTIONS, TREES, CLIENTS = 9, 2, 16, 10, 2

# the worker sends a reply that is built once, so that only the gateway works
MAIN = """
import sys
PAYLOAD = b"[" + b",".join([b"1"] * (2 * 1024 * 1024 - 1)) + b"]"
class EntryPoint:
    def train(self, data): return b""
    def evaluate(self, model, data): return {"SMAPE": 0.25}
    def info(self): return {"Name": "Large", "Type": "Generic"}
    def predict(self, model, features): return 1
ours = sys.modules.get("_slipway_model.worker")
if ours:
    ours.of_row = lambda question, _: ours.REPLY.pack(len(PAYLOAD), question, 1) + PAYLOAD
entry_point = EntryPoint()
"""


def main() -> None:
    environment = environments.make("slipway", KINDS["slipway"].packages)
    file = FOLDER / "two.toml"
    served = two(environment, file)
    try:
        body = json.dumps(ROW)
        wrk.load(served.server.url, body, CONNECTIONS, 2)
        ratios, large, failed = [], 0, 0
        for _ in range(ROUNDS):
            peace = wrk.load(served.server.url, body, CONNECTIONS, SECONDS)
            with Asking(served.server.url.replace("forest", "large")) as asking:
                during = wrk.load(served.server.url, body, CONNECTIONS, SECONDS)
            large += asking.answers
            failed += during.failed + peace.failed + asking.failed
            ratios.append(during.p99 / peace.p99)
            rate = asking.answers / (SECONDS + 1)
            print(f"p99 {peace.p99:.2f} ms, {during.p99:.2f} ms with {rate:.0f} large answers a second")
        low, middle, high = quartiles(ratios)
        print(f"{large} answers of 4 MiB, {failed} requests failed")
        print(f"p99 with them: {middle:.2f} times p99 without ({low:.2f}–{high:.2f}; bar: at most 2)")
        print(f"mean of the ratios: {statistics.mean(ratios):.2f}")
    finally:
        served.server.end()
        slipway.end()


def two(environment: Path, file: Path) -> Served:
    """Serve the forest and the model of large answers in one appliance."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    repository = ModelRepository(FOLDER / "large-repository")
    forest = FOLDER / f"slipway-{TREES}-two" / "repository"
    file.write_text(
        f'[forest]\nrepository = "acme/forest"\nclone_url = "{forest.as_uri()}"\n'
        f'[large]\nrepository = "acme/large"\nclone_url = "{repository.url}"\n'
    )
    source = (environments.PROGRAMS / "main.py").read_text()
    made = slipway.serve(environment, TREES, source, name=f"slipway-{TREES}-two", models=file)
    large = replace(made, model="large", repository=repository, main=MAIN)
    number = large.publish()
    until = time.monotonic() + 60
    while large.live() != number:
        if time.monotonic() > until:
            raise SystemExit("the model of large answers is not live")
        time.sleep(0.2)
    return made


class Asking:
    """Clients that request one large answer after the other, from before a burst until after it."""

    def __init__(self, url: str) -> None:
        self.url, self.answers, self.failed = url, 0, 0
        self.thread = threading.Thread(target=self.work)

    def __enter__(self) -> "Asking":
        self.thread.start()
        time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join()

    def work(self) -> None:
        made = wrk.load(self.url, "1", CLIENTS, SECONDS + 1)
        self.answers, self.failed = made.requests, made.failed


if __name__ == "__main__":
    main()
