"""Load by wrk: one thread, keep-alive connections, each sends its next request after an answer."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.processes import Command

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Burst:
    """The result of one burst: latencies in milliseconds; `failed` counts non-200s and broken connections."""

    requests: int
    per_second: float
    p50: float
    p99: float
    failed: int


def load(url: str, body: str, connections: int, seconds: int) -> Burst:
    command: Command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
        "-s",
        SCRIPT,
        url,
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "BODY": body},
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,  # it shares no autogroup (sched(7)) with this process
    )
    return Burst(**json.loads(done.stdout[done.stdout.rindex("{") :]))
