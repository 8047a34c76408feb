"""Alternating bursts of requests to servers that all run: `python -m benchmarks.serving --help`."""

import argparse
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import environments, slipway, wrk
from benchmarks.serving.processes import NotStartedError, Server
from benchmarks.serving.servers import KINDS
from benchmarks.serving.table import HEAD, Measured, markdown, rows

BASE = "by-hand"


def main() -> None:
    asked = options()
    if shutil.which("wrk") is None:
        sys.exit("wrk, which generates the load, is not installed: apt-get install wrk")
    try:
        for trees in asked.trees:
            compare(asked, trees)
    finally:
        slipway.end()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--peers", nargs="*", choices=[*KINDS], default=[*KINDS], help="which servers")
    parser.add_argument("--trees", nargs="*", type=int, default=[10, 100], help="of the forests")
    parser.add_argument("--connections", nargs="*", type=int, default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2, help="of one burst")
    return parser.parse_args()


def compare(asked: argparse.Namespace, trees: int) -> None:
    print(f"\n## A forest of {trees} trees\n", flush=True)
    alone = {name: fact for name in asked.peers if (fact := by_itself(name, trees))}
    base = alone[BASE].memory if BASE in alone else float("nan")
    body = [
        (KINDS[name].title, f"{fact.memory:.0f}", f"{fact.memory / base:.2f}", f"{fact.cold:.1f}")
        for name, fact in alone.items()
    ]
    print(f"\n{markdown(('', 'memory MiB (PSS)', 'ratio', 'first answer s'), body)}", flush=True)
    running: dict[str, Server] = {}
    try:
        for name in alone:
            running[name] = started(name, trees)
        measured = [
            one
            for number in range(asked.rounds)
            for connections in asked.connections
            for one in burst(running, number, connections, asked.seconds)
        ]
    finally:
        for server in running.values():
            server.end()
    titles = {name: KINDS[name].title for name in running}
    for connections in asked.connections:
        print(f"\n### {connections} connection{'s' if connections > 1 else ''}\n")
        print(markdown(HEAD, rows(measured, titles, BASE, connections)), flush=True)


@dataclass(frozen=True)
class Alone:
    """The cost of a server when no other shares its libraries: MiB, and seconds to its first answer."""

    memory: float
    cold: float


def by_itself(name: str, trees: int) -> Alone | None:
    """Measure a server alone; print the reason and return None where it cannot be started."""
    kind = KINDS[name]
    try:
        server = started(name, trees)
    except (NotStartedError, subprocess.CalledProcessError) as fault:
        print(f"- {kind.title}: left out, {fault}", flush=True)
        return None
    try:
        versions = environments.versions(environment(name), kind.packages)
        print(f"- {kind.title}: {versions}", flush=True)
        return Alone(server.memory(), server.cold)
    finally:
        server.end()


def started(name: str, trees: int) -> Server:
    """Start a server and warm it up."""
    server = KINDS[name].start(environment(name), trees)
    wrk.load(server.url, server.body, 16, 1)
    return server


def environment(name: str) -> Path:
    return environments.make(name.partition("-plain")[0].partition("-unrecorded")[0], KINDS[name].packages)


def burst(running: dict[str, Server], number: int, connections: int, seconds: int) -> list[Measured]:
    """Run one burst at each server, in another order each time."""
    order = list(running)
    random.Random(1000 * number + connections).shuffle(order)
    found = []
    for name in order:
        server = running[name]
        before = server.cpu()
        made = wrk.load(server.url, server.body, connections, seconds)
        found.append(Measured(name, connections, number, made, server.cpu() - before))
    return found


if __name__ == "__main__":
    main()
