"""MLflow stopped in any stage, and who tells it killed at any moment: it hears all in the end, and once."""

import random
import time

import psutil
import pytest

from db.states import Status
from tests.harness.waiting import wait_until
from tests.ml.mlflow_sync.conftest import Tracked, number
from tests.models import working

STAGES = ("checkout", "environment", "data", "train", "evaluate", "gate", "deploy")


@pytest.mark.soak
@pytest.mark.parametrize("stage", STAGES)
def test_mlflow_stopped_in_a_stage_is_told_later_without_delay(tracked: Tracked, stage: str) -> None:
    first = tracked.live(working.quick())
    tracked.told()
    commit = tracked.appliance.merge(working.quick(smape=0.20))
    tracked.appliance.wait_for_stage(stage)
    tracked.server.stop()
    try:
        tracked.appliance.settle()
        tracked.go_live()
    finally:
        tracked.server.start()
    second = tracked.appliance.release(commit)
    assert second.status is Status.DEPLOYED
    tracked.told()
    told_once(tracked, [first.id, second.id])
    assert tracked.decisions()[0].release_id == second.id


def test_who_tells_mlflow_may_be_killed_at_any_moment(tracked: Tracked) -> None:
    kill_tellers(tracked, times=3, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 8))
def test_who_tells_mlflow_may_be_killed_ever_again(tracked: Tracked, seed: int) -> None:
    kill_tellers(tracked, times=10, seed=seed)


def kill_tellers(tracked: Tracked, times: int, seed: int) -> None:
    random_ = random.Random(seed)
    built = [tracked.live(working.quick(smape=smape)).id for smape in (0.25, 0.20)]
    for _ in range(times):
        wait_until(lambda: told_by_somebody(tracked), 90, "somebody tells, or has told")
        time.sleep(random_.uniform(0, 2))
        for process in tellers():
            process.kill()
    tracked.told()
    told_once(tracked, built)


def told_by_somebody(tracked: Tracked) -> bool:
    tracked.appliance.lookout.reconcile()  # which starts them again
    return bool(tellers()) or tracked.at("prod") is not None


def tellers() -> list[psutil.Process]:
    """What the look-out started to tell MLflow, and what that started."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if any("ml.mlflow_sync" in word for word in command_line(process))]


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def told_once(tracked: Tracked, releases: list[int]) -> None:
    """A run and a version for each, `prod` on the last."""
    runs = tracked.runs()
    assert [number(run) for run in runs] == releases
    assert {run.info.status for run in runs} == {"FINISHED"}
    versions = tracked.client.search_model_versions(f"name = '{tracked.model}'")
    assert sorted(int(version.tags["slipway.release"]) for version in versions) == releases
    prod = tracked.at("prod")
    assert prod is not None
    assert prod.tags["slipway.release"] == str(releases[-1])
