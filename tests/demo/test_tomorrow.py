"""`slipway demo tomorrow`: new data, which the model is trained on and which it is better on."""

from pathlib import Path

import pytest

from resources.demo.demo_github import DemoPullRequests
from tests.harness.appliance import Running
from tests.harness.waiting import wait_until
from tests.ml.conftest import make_home


@pytest.mark.timeout(900)
def test_tomorrow_brings_data_that_is_trained_on(tmp_path: Path) -> None:
    make_home(tmp_path)  # with the environments that tests share
    running = Running(tmp_path, SLIPWAY_CHECKS="off")
    try:
        wait_until(running.healthy, 100, "all services are well")
        running.checkout()
        wait_until(running.live, 120, "a live release")
        said = running.slipway("demo", "tomorrow")

        assert "data: the data has changed: train (file://" in said
        live = running.live()
        assert f"release {live['release']} is live now" in said
        release = running.get(f"/releases/{live['release']}").json()
        assert release["trigger"] == "data"
        assert all(rule["value"] < rule["live"] for rule in release["verdict"]["rules"])
        [first] = running.get("/models/encyclopedia-visits/retraining").json()["retrainings"]
        assert (first["release"], first["status"]) == (live["release"], "deployed")
    finally:
        running.end()


def test_the_repository_has_its_data_until_tomorrow(tmp_path: Path) -> None:
    desk = DemoPullRequests(tmp_path / "demo", data_folder=tmp_path / "data")
    first = desk.advance_data()
    assert first["later"] == 0
    assert desk.repository.find_head("main") == first["commit"]
    before = (tmp_path / "data/train.csv").read_bytes()
    desk.merge()

    again = desk.advance_data()

    assert (again["commit"], again["later"]) == (first["commit"], 1)
    assert (tmp_path / "data/train.csv").read_bytes() != before
    listed = desk.repository.run_git(desk.repository.path, "ls-tree", "--name-only", "main")
    assert set(listed.split()) == {"README.md", "main.py", "requirements.txt", "slipway.toml"}


def test_a_demo_without_a_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`make up`"):
        DemoPullRequests(tmp_path / "demo").advance_data()
