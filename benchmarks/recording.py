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
    """Return the median ratio of the rounds, each of one burst at either, in turns."""
    ratios = []
    for number in range(rounds):
        order = ["on", "off"] if number % 2 else ["off", "on"]
        made = {name: wrk.load(running[name].url, running[name].body, CONNECTIONS, SECONDS) for name in order}
        ratios.append(made["on"].per_second / made["off"].per_second)
        print(
            f"  on {made['on'].per_second:9,.0f}/s  off {made['off'].per_second:9,.0f}/s  ratio "
            f"{ratios[-1]:.3f}  p99 {made['on'].p99:.1f} and {made['off'].p99:.1f} ms  "
            f"failed {made['on'].failed + made['off'].failed}",
            flush=True,
        )
    low, ratio, high = statistics.quantiles(ratios, n=4)
    print(f"  median {ratio:.3f} (quartiles {low:.3f} to {high:.3f}), bar {BAR}", flush=True)
    return ratio


def count_rows(server: Server) -> str:
    """Return what the server counts of its rows: recorded, over the rate, dropped."""
    address = urljoin(server.url, "/metrics")
    lines = httpx.get(address).text.splitlines()
    counts = [line.partition("{")[2] for line in lines if line.startswith("slipway_request_log_rows_total{")]
    return "; ".join(counts)
