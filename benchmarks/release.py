"""A merge and switches in a whole appliance: what each stage takes, what a switch adds to a worker's start.

A deploy is timed from the call to the first answer by the release that it wants; a start alone is a worker of
that release, made ready and asked the health prediction, in this process and beside the appliance.
"""

import asyncio
import os
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

import httpx

from common import token
from db import releases
from db.models import Release
from db.session import sessions
from ml.serving import health
from ml.serving.pool import Limits
from ml.serving.start import start
from ml.settings import Settings
from tests.support.appliance import Running
from tests.support.waiting import wait_until

ROUNDS = 7
ENVIRONMENT, SWITCH = 0.5, 0.2  # bars, in seconds


def main() -> bool:
    """Whether the bars were met."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        running = Running(Path(folder))
        try:
            running.checkout()
            wait_until(running.live, 300, "a live release")
            running.slipway("demo", "merge")
            stages = running.get("/releases/2").json()["stages"]
            took = {stage["name"]: lasted(stage) for stage in stages}
            for name, seconds in took.items():
                print(f"  {name:12} {seconds:6.2f} s{bar(ENVIRONMENT) if name == 'environment' else ''}")
            adds = switching(running)
        finally:
            running.end()
    return took["environment"] <= ENVIRONMENT and adds <= SWITCH


def switching(running: Running) -> float:
    """What a switch adds to the start of a worker, in seconds."""
    headers = {"Authorization": f"Bearer {token.kept(running.home)}"}
    url = f"http://127.0.0.1:{running.serve}"
    whole, alone = [], []
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        for number in range(2 * ROUNDS):
            target = 1 + number % 2
            began = time.perf_counter()
            client.post(f"/releases/{target}/deploy", json={"who": "benchmark"}).raise_for_status()
            while client.get("/").json()["release"] != target:  # cheap: it takes nothing from the start
                time.sleep(0.01)
            assert client.post("/predict", json=1).json()["release"] == target
            whole.append(time.perf_counter() - began)
            alone.append(asyncio.run(worker(running, target)))
    for what, times in (("deploy to first answer", whole), ("a worker's start alone", alone)):
        low, middle, high = statistics.quantiles(times, n=4)
        print(f"  {what:24} {1000 * middle:5.0f} ms  (quartiles {1000 * low:.0f} to {1000 * high:.0f})")
    adds = statistics.median(one - other for one, other in zip(whole, alone, strict=True))
    print(f"  {'the switch adds':24} {1000 * adds:5.0f} ms{bar(SWITCH)}")
    return adds


async def worker(running: Running, number: int) -> float:
    """Seconds that a worker of this release takes until it has answered."""
    serve = running.service("ml")
    assert serve is not None
    url = serve.environ()["DATABASE_URL"]
    os.environ |= {"SLIPWAY_HOME": str(running.home), "DATABASE_URL": url}
    os.environ |= {"SLIPWAY_REPOSITORY": "demo/encyclopedia-visits", "SLIPWAY_CLONE_URL": "file:///nowhere"}
    settings = Settings()
    with sessions(url).begin() as session:
        release: Release | None = releases.find(session, number)
    assert release is not None
    began = time.perf_counter()
    pool = await start(settings.models()[0], settings, release, Limits(1, 30.0, 60.0), lambda _: None)
    await health.check(pool, health.choose(pool, release.kind, list))
    took = time.perf_counter() - began
    await pool.close()
    return took


def lasted(stage: dict[str, str]) -> float:
    start, end = (datetime.fromisoformat(stage[name]) for name in ("started_at", "ended_at"))
    return (end - start).total_seconds()


def bar(seconds: float) -> str:
    return f"     (bar: at most {seconds:g} s)"
