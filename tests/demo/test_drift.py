"""`slipway demo drift`: a model of single pages, whose world changes."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from resources.demo.demo_github import DemoPullRequests
from resources.demo.world import COLUMNS, draw_pages
from tests.harness.appliance import Running
from tests.harness.waiting import wait_until
from tests.ml.conftest import CACHE, make_home


def test_the_model_of_pages_is_put_beside_the_other(tmp_path: Path) -> None:
    desk = DemoPullRequests(tmp_path / "demo", data_folder=tmp_path / "data")
    first = desk.advance_model()
    assert first == {"commit": desk.repository.find_head("main"), "recorded": None}
    assert desk.advance_model() == first

    second = desk.advance_model(is_recorded=True)
    assert second["recorded"] == desk.repository.find_head("main")
    assert desk.advance_model(is_recorded=True) == second
    manifest = desk.repository.run_git(desk.repository.path, "show", "main:slipway.toml")
    assert "slipway://recorded" in manifest
    desk.merge()
    listed = desk.repository.run_git(desk.repository.path, "ls-tree", "--name-only", "main")
    assert {"main.py", "page.py", "slipway.toml", "data"} <= set(listed.split())


def test_tomorrow_does_not_undo_the_model_of_pages(tmp_path: Path) -> None:
    desk = DemoPullRequests(tmp_path / "demo", data_folder=tmp_path / "data")
    desk.advance_model()
    with pytest.raises(ValueError, match="in a new demo"):
        desk.advance_data()


def test_drift_needs_an_appliance_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`make up`"):
        DemoPullRequests(tmp_path / "demo").advance_model()


def test_its_files_are_of_the_usual_world(tmp_path: Path) -> None:
    desk = DemoPullRequests(tmp_path / "demo", data_folder=tmp_path / "data")
    desk.advance_model()
    text = desk.repository.run_git(desk.repository.path, "show", "main:data/train.csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert (tuple(rows[0]), len(rows)) == (COLUMNS, 600)
    of_app = [sum(row["source"] == "app" for row in world) / len(world) for world in (rows, changed())]
    assert of_app[0] < 0.1
    assert of_app[1] > 0.5


def changed() -> list[dict[str, object]]:
    return [page for page, _ in draw_pages(300, 1, has_changed=True)]


@pytest.mark.timeout(900)
def test_a_changed_world_is_noticed_and_trained_on_by_a_click(tmp_path: Path) -> None:
    make_home(tmp_path)  # with the environments that tests share
    installed = CACHE / "monitor" / "environment"
    running = Running(tmp_path, SLIPWAY_CHECKS="off", SLIPWAY_MONITOR_ENVIRONMENT=str(installed))
    try:
        wait_until(running.healthy, 100, "all services are well")
        running.checkout()
        wait_until(running.live, 120, "a live release")
        printed = running.slipway("demo", "drift", "--click")

        live = running.live()
        assert f"release {live['release']} is live now" in printed
        release = running.get(f"/releases/{live['release']}").json()
        assert release["trigger"] in ("drift", "decay")
        log = (running.home / f"releases/{live['release']}/logs/data.log").read_text()
        assert "rows from" in log
        assert all(rule["value"] < rule["live"] for rule in release["verdict"]["rules"])
        [made] = [one for one in retrainings(running) if one["release"] == live["release"]]
        assert made["status"] == "deployed"
    finally:
        running.end()


def retrainings(running: Running) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.get("/models/encyclopedia-visits/retraining").json()["retrainings"]
    return found
