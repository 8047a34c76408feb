"""Releases that are trained on what users sent to the model, with ground truth that came later."""

import json
from pathlib import Path

import pytest

from db.states import Status, Trigger
from tests.harness.waiting import wait_until
from tests.ml.builder.test_release import go_live
from tests.ml.checks.support import propose, show, stages
from tests.ml.conftest import Appliance
from tests.ml.recorded.conftest import GATE, RECORDED, Live, model, record_world


def test_live_is_beaten_on_rows_that_neither_has_seen(live_with: Live) -> None:
    appliance = live_with()
    record_world(appliance, 0.8)
    commit = appliance.merge(model(RECORDED))
    appliance.settle()

    release = appliance.release(commit)
    assert release.status is Status.DEPLOYED, release.reason
    assert release.data is not None and release.verdict is not None
    train, test = release.data["train"]["recorded"], release.data["test"]["recorded"]
    assert (train["rows"], test["rows"]) == (80, 20)
    assert train["end"] < test["begin"]
    [rule] = release.verdict["rules"]
    assert (rule["value"], rule["live"]) == (pytest.approx(0), pytest.approx(0.75))
    assert "age of the first: 0" in appliance.log(release, "train")


def test_no_row_of_a_user_is_shown_by_a_release(live_with: Live) -> None:
    appliance = live_with()
    record_world(appliance, 0.8)
    commit = appliance.merge(model(RECORDED))
    appliance.settle()
    folder = appliance.settings.home / "releases" / str(appliance.release(commit).id)
    assert json.loads((folder / "evaluate/scored.json").read_text())["rows"] == []
    assert not (folder / "known").exists()
    wait_until(lambda: look(appliance) and rows_in_files(appliance) == [], 30, "no file has a row any more")


def test_without_the_operators_word_it_is_rejected(live_with: Live) -> None:
    appliance = live_with(grant="")
    record_world(appliance, 0.8)
    commit = appliance.merge(model(RECORDED))
    appliance.settle()
    release = appliance.release(commit)
    assert release.status is Status.REJECTED
    assert release.reason is not None
    assert "recorded = true in the section [web-traffic] of models.toml" in release.reason


def test_too_few_rows_are_a_rejection_with_numbers(live_with: Live) -> None:
    appliance = live_with()
    record_world(appliance, 0.8, count=40)
    commit = appliance.merge(model(RECORDED))
    appliance.settle()
    release = appliance.release(commit)
    assert release.status is Status.REJECTED
    assert release.reason is not None and "40 rows since" in release.reason


def look(appliance: Appliance) -> bool:
    appliance.lookout.reconcile()
    return True


def rows_in_files(appliance: Appliance) -> list[Path]:
    return [*(appliance.settings.home / "releases").glob("*/*/recorded/*")]


@pytest.mark.parametrize("is_fork", [False, True])
def test_code_that_is_not_merged_gets_no_rows(live_with: Live, is_fork: bool) -> None:
    appliance = live_with("recorded = true\n[web-traffic.checks]\ntrust_authors = [7]\ntrust_owners = [8]")
    record_world(appliance, 0.8)
    if is_fork:
        head = appliance.repository.propose(7, model(RECORDED))
        show(appliance, 7, head, head_repository_id=2)
        appliance.settle()
        check = appliance.release(head)
    else:
        check = propose(appliance, 7, model(RECORDED))
    assert (check.trigger, check.is_fork, check.status) == (Trigger.CHECK, is_fork, Status.CHECKED)
    assert check.reason is not None and check.reason.startswith("not trained")
    assert list(stages(appliance, check)) == ["checkout", "environment"]


def test_what_the_same_rows_trained_is_not_trained_again(live_with: Live) -> None:
    appliance = live_with()
    record_world(appliance, 0.8)
    first = appliance.merge(model(RECORDED))
    appliance.settle()
    go_live(appliance)
    again = appliance.merge({**model(RECORDED), "README.md": "More"})
    appliance.settle()

    releases = appliance.release(first), appliance.release(again)
    digests = [[(one.data or {})[name]["sha256"] for name in ("train", "test")] for one in releases]
    assert digests[0] == digests[1]
    assert releases[1].status is Status.DEPLOYED


def test_a_file_may_judge_what_recorded_rows_trained(live_with: Live) -> None:
    appliance = live_with()
    record_world(appliance, 0.8)
    named = RECORDED.replace("[gate]", "test = 'data/test.csv'\n[gate]")
    commit = appliance.merge(model(named))
    appliance.settle()
    release = appliance.release(commit)
    assert release.data is not None
    assert release.data["train"]["recorded"]["rows"] == 100
    assert "recorded" not in release.data["test"]
    assert release.status is Status.REJECTED, "the file is of the old world"
    assert GATE in named


def test_rows_judge_what_a_file_trained(live_with: Live) -> None:
    appliance = live_with()
    record_world(appliance, 0.8)
    named = RECORDED.replace("train = 'slipway", "test = 'slipway")
    commit = appliance.merge(model(named))
    appliance.settle()
    release = appliance.release(commit)
    assert release.data is not None and "recorded" not in release.data["train"]
    assert release.data["test"]["recorded"]["rows"] == 20
