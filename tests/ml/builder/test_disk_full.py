"""The disk is full: a release waits and says so, what is live answers, and it goes on when there is room.

Not in the stage deploy, which writes to Postgres alone.
"""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, update

from common.system import disk
from db import releases
from db.models import Release
from db.states import StageOutcome, Status
from ml.paths import HomeLayout
from tests.harness.faults import fill, make_room, small_disk
from tests.harness.repositories import Files
from tests.harness.waiting import wait_until
from tests.ml.conftest import CACHE, Appliance
from tests.ml.serving.support import Shop
from tests.models import working

SIZE = 96 << 20  # bytes of the disk; 64 MiB of them no download takes
MUCH = 4 << 20
SPARE = {"checkout": 0, "environment": 64 << 10, "data": 1 << 20, "train": 1 << 20, "evaluate": 0, "gate": 0}
TOML = '[data]\ntrain = "data/train.csv"\ntest = "data/test.csv"\nformat = "path"\n'
WAIT = "while not os.path.exists(os.path.join(os.path.dirname(__file__), {!r})): time.sleep(0.02)"


@pytest.fixture
def shared_home(tmp_path: Path) -> Iterator[Path]:
    """A SLIPWAY_HOME on a small disk of its own; uv's cache alone is elsewhere."""
    home = tmp_path / "home"
    home.mkdir()
    with small_disk(home, SIZE):
        (CACHE / "cache").mkdir(parents=True, exist_ok=True)
        (home / "cache").symlink_to(CACHE / "cache")
        yield home


def model(train: str = "") -> Files:
    """One without packages; it waits in `train` and `evaluate` until a file that says `go` is beside it."""
    files = working.quick()
    wait = {name: WAIT.format(f"go-{name}") for name in ("train", "evaluate")}
    main = files["main.py"].replace("import time", "import os, time", 1)
    main = main.replace("print('training", f"{wait['train']}\n        {train}\n        print('training", 1)
    main = main.replace("return {'SMAPE'", f"{wait['evaluate']}\n        return {{'SMAPE'", 1)
    return {**files, "main.py": main, "requirements.txt": "", "slipway.toml": TOML}


def changed(stage: str, data: Path) -> Files:
    """Another version of it, that needs much of the disk in this stage."""
    files = model("pass")
    match stage:
        case "environment":
            files["requirements.txt"] = "six==1.17.0\n"
        case "data":
            (data / "much.csv").write_bytes(b"1\n" * MUCH)
            files["slipway.toml"] = TOML.replace("data/train.csv", (data / "much.csv").as_uri())
        case "train":
            files = model(f"open(os.environ['TMPDIR'] + '/much', 'wb').write(bytes({MUCH}))")
        case "gate":  # what is live is scored again
            files["data/test.csv"] += "2026-01-09,9\n"
    return files


def go(home: HomeLayout, release: int, *stages: str) -> None:
    for stage in stages:
        (home.source_path(release) / f"go-{stage}").touch()


def begun(appliance: Appliance, release: int, stage: str) -> bool:
    appliance.look()
    with appliance.sessions.begin() as session:
        found = releases.find(session, release)
        return found is not None and stage in [row.name for row in found.stages]


def until_begun(appliance: Appliance, release: int, stage: str) -> None:
    wait_until(lambda: begun(appliance, release, stage), 60, f"{stage} of release {release}")


def put_off(appliance: Appliance, release: int) -> Release | None:
    """The release, once its builder has put it off."""
    appliance.look()
    known = next((r for r in appliance.releases() if r.id == release), None)
    return known if known and known.status is Status.QUEUED and known.reason else None


def the_pause_is_over(appliance: Appliance) -> None:
    with appliance.sessions.begin() as session:
        session.execute(update(Release).values(due_at=func.now()))
    appliance.looks_at = 0.0


@pytest.mark.parametrize("stage", SPARE)
def test_a_full_disk_puts_a_release_off_and_live_goes_on(
    stage: str, make_appliance: Callable[..., Appliance], shared_home: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    appliance, home = make_appliance(SLIPWAY_DATA=str(data)), HomeLayout(shared_home)
    shop = Shop(appliance.serving, appliance.sessions, appliance.repository)
    with shop.process():
        appliance.merge(model())
        until_begun(appliance, 1, "train")
        go(home, 1, "train", "evaluate")
        appliance.settle()
        shop.until_live(1)
        (home.source_path(1) / "go-evaluate").unlink()

        filled = stage in ("checkout", "environment", "data")
        if filled:
            fill(shared_home, SPARE[stage])
        appliance.merge(changed(stage, data))
        for begins in ("train", "evaluate", "gate"):
            if not filled:
                until_begun(appliance, 2, begins)
                if filled := stage == begins:
                    fill(shared_home, SPARE[stage])
                go(home, *((1, "evaluate") if begins == "gate" else (2, begins)))

        put = wait_until(lambda: put_off(appliance, 2), 60, "the release is put off")
        assert put is not None
        assert put.reason is not None
        assert "disk" in put.reason
        assert "full" in put.reason
        with appliance.sessions.begin() as session:
            stages = releases.find(session, 2).stages  # type: ignore[union-attr]
            assert (stages[-1].name, stages[-1].outcome) == (stage, StageOutcome.UNAVAILABLE)
        assert shop.predict(2).json()["release"] == 1

        make_room(shared_home)
        the_pause_is_over(appliance)
        if stage not in ("evaluate", "gate"):
            until_begun(appliance, 2, "train")
        go(home, 2, "train", "evaluate")
        go(home, 1, "evaluate")
        appliance.settle()
        shop.until_live(2)
        assert shop.predict(2).json()["release"] == 2


def test_no_room_for_a_single_file_is_told_and_loses_nothing(appliance: Appliance, shared_home: Path) -> None:
    used = os.statvfs(shared_home)
    files_allowed(shared_home, used.f_files - used.f_ffree)
    commit = appliance.merge(model())
    put = wait_until(lambda: put_off(appliance, 1), 60, "the release is put off")
    assert put is not None
    assert "disk is full" in (put.reason or "")

    files_allowed(shared_home, 0)  # any number
    the_pause_is_over(appliance)
    until_begun(appliance, 1, "train")
    go(HomeLayout(shared_home), 1, "train", "evaluate")
    appliance.settle()
    assert appliance.release(commit).status is Status.DEPLOYED


def files_allowed(home: Path, number: int) -> None:
    subprocess.run(["mount", "-o", f"remount,nr_inodes={number}", home], check=True)


def test_the_disk_that_is_full_is_named(shared_home: Path, tmp_path: Path) -> None:
    def told(*where: str) -> str:
        return disk.describe_full(OSError(errno.ENOSPC, "No space left on device", *where), shared_home)

    elsewhere = next(place for place in (tmp_path, *tmp_path.parents) if place.is_mount())

    assert told(str(shared_home / "releases/1/new")) == disk.FULL_MESSAGE
    assert told() == disk.FULL_MESSAGE
    assert told(str(tmp_path / "data/new")) == f"the disk of {elsewhere} is full: make room there"
