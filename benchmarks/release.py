"""A merge and switches in a whole appliance: the time of each stage, and of a switch but a worker's start.

A deploy is timed from the call to the first answer by the wanted release; a start alone is a worker of that
release, started and given the health prediction, in this process and next to the appliance.
"""

import asyncio
import os
import statistics
import tempfile
import time
from datetime import datetime
from functools import partial
from pathlib import Path

import httpx

from common.auth import operator_token
from db import releases
from db.models import Release
from db.session import create_sessionmaker
from ml.serving.deployer import readiness
from ml.serving.deployer.startup import start_pool
from ml.serving.workers.pool import PoolLimits
from ml.settings import MlSettings
from tests.harness.appliance import Running
from tests.harness.waiting import wait_until

ROUNDS = 7
ENVIRONMENT, SWITCH = 0.5, 0.2  # bars, in seconds
REUSE_ROUNDS, REUSE = 16, 1.5  # merges that are tried; the bar


def main() -> bool:
    """Run the benchmark; return True when the bars were met."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        running = Running(Path(folder))
        try:
            running.checkout()
            wait_until(running.live, 300, "a live release")
            running.slipway("demo", "merge")
            stages = running.get(f"/releases/{find_merge(running)}").json()["stages"]
            took = {stage["name"]: lasted(stage) for stage in stages}
            for name, seconds in took.items():
                print(f"  {name:12} {seconds:6.2f} s{bar(ENVIRONMENT) if name == 'environment' else ''}")
            adds = switching(running)
            ratio = reusing(running)
        finally:
            running.end()
    return took["environment"] <= ENVIRONMENT and adds <= SWITCH and ratio <= REUSE


def find_merge(running: Running) -> int:
    """Return the newest release of a merge."""
    found = running.get("/releases").json()["releases"]
    return next(int(release["id"]) for release in found if release["trigger"] == "merge")


def reusing(running: Running) -> float:
    """Return the time to live of a merge whose model a check has trained, as a share of a deploy's.

    Both are by Postgres's clock: from the release or the decision until it is live. They take turns.
    """
    headers = {"Authorization": f"Bearer {operator_token.read_stored(running.home)}"}
    merges, deploys = [], []
    with httpx.Client(
        base_url=f"http://127.0.0.1:{running.serve}", headers=headers, trust_env=False
    ) as client:
        for _ in range(REUSE_ROUNDS):
            wait_until(lambda: not running.unfinished(), 300, "all checks have ended")
            before = running.live()["release"]
            running.slipway("demo", "merge")
            release = running.get(f"/releases/{find_merge(running)}").json()
            stages = {stage["name"]: stage["outcome"] for stage in release["stages"]}
            if running.live()["release"] != release["id"] or stages["train"] != "reused":
                continue
            merges.append(live_after(running, release["created_at"]))
            for target in (before, release["id"]):
                wait_until(lambda: not running.unfinished(), 300, "all checks have ended")
                client.post(f"/releases/{target}/deploy", json={"who": "benchmark"}).raise_for_status()
                wait_until(partial(is_live, running, target), 60, "it is live")
                deploys.append(live_after(running, None))
    ratio = statistics.median(merges) / statistics.median(deploys)
    for name, times in (("a reused merge to live", merges), ("a deploy to live", deploys)):
        print(f"  {name:24} {statistics.median(times):6.2f} s  (median of {len(times)})")
    print(f"  {'their ratio':24} {ratio:6.2f}       (bar: at most {REUSE:g})")
    return ratio


def is_live(running: Running, release: int) -> bool:
    return bool(running.live()["release"] == release)


def live_after(running: Running, since: str | None) -> float:
    """Return the seconds from `since`, by default its decision, until the newest deployment was live."""
    newest = running.get("/models/encyclopedia-visits/deployments").json()["deployments"][0]
    start, end = (datetime.fromisoformat(text) for text in (since or newest["created_at"], newest["live_at"]))
    return (end - start).total_seconds()


def switching(running: Running) -> float:
    """Return the seconds that a switch adds to the start of a worker."""
    headers = {"Authorization": f"Bearer {operator_token.read_stored(running.home)}"}
    url = f"http://127.0.0.1:{running.serve}"
    whole, alone = [], []
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
        for number in range(2 * ROUNDS):
            target = (1, find_merge(running))[number % 2]
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
    """Return the seconds until a worker of this release has answered."""
    serve = running.service("ml")
    assert serve is not None
    url = serve.environ()["DATABASE_URL"]
    os.environ |= {"SLIPWAY_HOME": str(running.home), "DATABASE_URL": url}
    os.environ |= {"SLIPWAY_REPOSITORY": "demo/encyclopedia-visits", "SLIPWAY_CLONE_URL": "file:///nowhere"}
    settings = MlSettings()
    with create_sessionmaker(url).begin() as session:
        release: Release | None = releases.find(session, number)
    assert release is not None
    began = time.perf_counter()
    pool = await start_pool(
        settings.list_models()[0], settings, release, PoolLimits(1, 30.0, 60.0), lambda _: None
    )
    await readiness.check_pool(pool, readiness.choose_probes(pool, release.kind, list))
    took = time.perf_counter() - began
    await pool.close()
    return took


def lasted(stage: dict[str, str]) -> float:
    start, end = (datetime.fromisoformat(stage[name]) for name in ("started_at", "ended_at"))
    return (end - start).total_seconds()


def bar(seconds: float) -> str:
    return f"     (bar: at most {seconds:g} s)"
