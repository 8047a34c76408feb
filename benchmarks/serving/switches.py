"""The p99 while releases are switched without a pause: `python -m benchmarks.serving.switches`."""

import json
import statistics
import threading

from benchmarks.serving import environments, slipway, wrk
from benchmarks.serving.servers import KINDS
from benchmarks.serving.slipway import ROW, Served
from benchmarks.serving.table import quartiles

ROUNDS, SECONDS, CONNECTIONS, TREES = 9, 4, 16, 10


def main() -> None:
    kind = KINDS["slipway"]
    environment = environments.make("slipway", kind.packages)
    served = slipway.serve(environment, TREES, (environments.PROGRAMS / "main.py").read_text())
    try:
        served.publish()  # a second release
        wrk.load(served.server.url, json.dumps(ROW), CONNECTIONS, 2)
        ratios, failed, switches = [], 0, 0
        for _ in range(ROUNDS):
            peace = wrk.load(served.server.url, json.dumps(ROW), CONNECTIONS, SECONDS)
            before = served.switches
            with Switching(served):
                during = wrk.load(served.server.url, json.dumps(ROW), CONNECTIONS, SECONDS)
            switches += served.switches - before
            ratios.append(during.p99 / peace.p99)
            failed += during.failed + peace.failed
        low, middle, high = quartiles(ratios)
        print(f"{switches} switches, {failed} requests failed")
        print(f"p99 during switches: {middle:.2f} times p99 without ({low:.2f}–{high:.2f}; bar: at most 2)")
        print(f"mean of the ratios: {statistics.mean(ratios):.2f}")
    finally:
        served.server.end()
        slipway.end()


class Switching:
    """A thread that switches from one release to the next as soon as each is live."""

    def __init__(self, served: Served) -> None:
        self.served, self.over = served, threading.Event()
        self.thread = threading.Thread(target=self.work)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def work(self) -> None:
        while not self.over.is_set():
            self.served.switch()


if __name__ == "__main__":
    main()
