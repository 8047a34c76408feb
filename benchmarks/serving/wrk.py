"""Load by wrk: one thread, kept connections, each sends the next request when it has its answer."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Burst:
    """Latencies in milliseconds; `failed` counts answers but 200, and broken connections."""

    requests: int
    per_second: float
    p50: float
    p99: float
    failed: int


def load(url: str, body: str, connections: int, seconds: int) -> Burst:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", SCRIPT, url]
    done = subprocess.run(
        command,
        env={**os.environ, "BODY": body},
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,  # it shares no autogroup (sched(7)) with who measures
    )
    return Burst(**json.loads(done.stdout[done.stdout.rindex("{") :]))
