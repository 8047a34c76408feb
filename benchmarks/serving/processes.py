"""A server under test: its start, the memory and CPU time of its process tree, and its end."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

Command = list[str | Path]

PATIENCE = 120.0  # seconds until a server has answered


class NotStartedError(Exception):
    """A server that did not start; the text names its log."""


@dataclass
class Server:
    """A running server; `cold` is the seconds from its start to its first answer."""

    process: psutil.Process
    url: str
    body: str
    cold: float

    def tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def memory(self) -> float:
        """Return the MiB of the process tree; shared memory counts in parts (PSS)."""
        total = 0
        for process in self.tree():
            with suppress(psutil.Error, OSError):
                total += process.memory_full_info().pss
        return total / (1 << 20)

    def cpu(self) -> float:
        """Return the seconds of CPU time that the process tree has used so far."""
        total = 0.0
        for process in self.tree():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def end(self) -> None:
        tree = self.tree()
        with suppress(psutil.Error):
            self.process.terminate()
        _, left = psutil.wait_procs(tree, timeout=8)
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=5)


def start(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    url: str,
    body: str,
    log: Path,
    cwd: Path,
) -> Server:
    """Start a server and wait for its first answer; raises `NotStartedError` when there is none."""
    began = time.perf_counter()
    with log.open("w") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **environment},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    server = Server(psutil.Process(child.pid), url, body, 0.0)
    while not answers(url, body):
        if child.poll() is not None or time.perf_counter() - began > PATIENCE:
            server.end()
            raise NotStartedError(f"it did not answer: see {log}")
        time.sleep(0.01)
    server.cold = time.perf_counter() - began
    return server


def answers(url: str, body: str) -> bool:
    try:
        headers = {"Content-Type": "application/json"}
        return httpx.post(url, content=body, headers=headers, timeout=10, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
