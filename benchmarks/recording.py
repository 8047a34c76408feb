"""Requests a second with the request log on against off, in turns, at 64 connections."""

import os
import shutil
import statistics
from urllib.parse import urljoin

import httpx

from benchmarks.serving import environments, slipway, wrk
from benchmarks.serving.processes import Server
from benchmarks.serving.servers import SKLEARN

CONNECTIONS, ROUNDS, SECONDS, TREES, BAR = 64, 9, 3, 10, 0.90


def main() -> bool:
    """Return True when recording costs at most a tenth of the requests."""
    if shutil.which("wrk") is None:
        print("  left out: wrk, which generates the load, is not installed")
        return True
    rounds = int(os.environ.get("ROUNDS", ROUNDS))
    environment = environments.make("slipway", (SKLEARN,))
    running: dict[str, Server] = {}
    try:
        running["on"] = slipway.batching(environment, TREES)
        running["off"] = slipway.unrecorded(environment, TREES)
        for server in running.values():
            wrk.load(server.url, server.body, 16, 1)
        ratio = compare(running, rounds)
        print(f"  rows: {count_rows(running['on'])}", flush=True)
    finally:
        for server in running.values():
            server.end()
        slipway.end()
    return ratio >= BAR


def compare(running: dict[str, Server], rounds: int) -> float:
    """Return the median ratio of the rounds, each of one burst at either, in turns.

    The processor time of a request is printed as well: other work on the machine changes it less.
    """
    ratios, costs = [], []
    for number in range(rounds):
        order = ["on", "off"] if number % 2 else ["off", "on"]
        made = {name: measure(running[name]) for name in order}
        (on, on_cost), (off, off_cost) = made["on"], made["off"]
        ratios.append(on.per_second / off.per_second)
        costs.append(off_cost / on_cost)
        print(
            f"  on {on.per_second:7,.0f}/s  off {off.per_second:7,.0f}/s  ratio {ratios[-1]:.3f}  "
            f"CPU {on_cost:.3f} and {off_cost:.3f} ms  p99 {on.p99:.1f} and {off.p99:.1f} ms  "
            f"failed {on.failed + off.failed}",
            flush=True,
        )
    low, ratio, high = statistics.quantiles(ratios, n=4)
    print(f"  median {ratio:.3f} (quartiles {low:.3f} to {high:.3f}), bar {BAR}")
    print(f"  by processor time {statistics.median(costs):.3f}", flush=True)
    return ratio


def measure(server: Server) -> tuple[wrk.Burst, float]:
    """Return a burst, and the milliseconds of processor time that the server took for each request."""
    before = server.cpu()
    burst = wrk.load(server.url, server.body, CONNECTIONS, SECONDS)
    return burst, 1000 * (server.cpu() - before) / burst.requests


def count_rows(server: Server) -> str:
    """Return what the server counts of its rows: recorded, over the rate, dropped."""
    address = urljoin(server.url, "/metrics")
    lines = httpx.get(address).text.splitlines()
    counts = [line.partition("{")[2] for line in lines if line.startswith("slipway_request_log_rows_total{")]
    return "; ".join(counts)
