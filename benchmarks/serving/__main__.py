"""Alternating bursts at servers that are all up: `python -m benchmarks.serving --help`."""

import argparse
import random
import shutil
import subprocess
import sys

from benchmarks.serving import environments, slipway, wrk
from benchmarks.serving.processes import NotStarted, Server
from benchmarks.serving.servers import KINDS
from benchmarks.serving.table import HEAD, Measured, markdown, rows

BASE = "by-hand"


def main() -> None:
    asked = options()
    if shutil.which("wrk") is None:
        sys.exit("wrk makes the load, and is not here: apt-get install wrk")
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
    running: dict[str, Server] = {}
    try:
        for name in asked.peers:
            running |= begun(name, trees)
        facts(running)
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


def begun(name: str, trees: int) -> dict[str, Server]:
    """The server, running and warm; nothing, with a word, where it cannot be had."""
    kind = KINDS[name]
    try:
        environment = environments.make(name.removesuffix("-plain"), kind.packages)
        server = kind.start(environment, trees)
    except (NotStarted, subprocess.CalledProcessError) as fault:
        print(f"- {kind.title}: left out, {fault}", flush=True)
        return {}
    wrk.load(server.url, server.body, 16, 1)
    print(f"- {kind.title}: {environments.versions(environment, kind.packages)}", flush=True)
    return {name: server}


def facts(running: dict[str, Server]) -> None:
    """Memory and the way to the first answer, before the rounds."""
    base = running[BASE].memory() if BASE in running else float("nan")
    body = []
    for name, server in running.items():
        memory = server.memory()
        ratio = f"{memory / base:.2f}"
        body.append((KINDS[name].title, f"{memory:.0f}", ratio, f"{server.cold:.1f}"))
    print(f"\n{markdown(('', 'memory MiB (PSS)', 'ratio', 'first answer s'), body)}", flush=True)


def burst(running: dict[str, Server], number: int, connections: int, seconds: int) -> list[Measured]:
    """One of each, in another order each time."""
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
