"""A model that follows what its users send: new ground truth retrains it, an erasure does not fool it."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import update

from db.deployments import DeploymentSnapshot
from db.models import Deployment, Release
from db.request_erasure import delete_by_id
from db.states import RetrainingState, Status, Trigger
from ml.builder.baseline import Baseline
from ml.builder.context import BuildContext
from ml.builder.stages.gate import KNOWS_TEST, GateInputs, score_baseline
from ml.paths import HomeLayout
from ml.sandbox import rmtree
from ml.sources.datasets import DataSet
from ml.sources.recorded.source import RecordedPeriod
from tests.harness.waiting import wait_until
from tests.ml.builder.test_release import go_live
from tests.ml.conftest import Appliance
from tests.ml.recorded.conftest import RECORDED, Live, model, record_world
from tests.ml.retraining.support import list_all
from tests.ml.retraining.test_releases import ended, fall_due, look_again, plan

FAST = {"SLIPWAY_DATA_SECONDS": "0.2"}


def live_on_rows(live_with: Live, retrain: str, **variables: str) -> Appliance:
    """Make a model live that was trained on a hundred recorded rows."""
    appliance = live_with(**variables)
    record_world(appliance, 0.8)
    commit = appliance.merge(model(f"{RECORDED}[retrain]\ncooldown = '1s'\n{retrain}\n"))
    appliance.settle()
    assert appliance.release(commit).status is Status.DEPLOYED, appliance.release(commit).reason
    go_live(appliance)
    return appliance


def look_thrice(appliance: Appliance) -> None:
    appliance.lookout.reconcile()
    for _ in range(3):
        seen = plan(appliance).data_checked_at
        wait_until(lambda seen=seen: look_again(appliance) != seen, 30, "the data was looked at")


def test_enough_new_truth_retrains_and_little_does_not(live_with: Live) -> None:
    appliance = live_on_rows(live_with, "on_data = true", **FAST)
    record_world(appliance, 0.4, count=99)
    look_thrice(appliance)
    assert list_all(appliance.sessions) == []

    record_world(appliance, 0.4, count=300)
    made = ended(appliance)
    assert made.reason == "the data has changed: train (200 or more recorded rows have new ground truth)"
    appliance.settle()
    release = appliance.releases()[0]
    assert (release.id, release.trigger, release.status) == (made.release_id, Trigger.DATA, Status.DEPLOYED)
    assert release.verdict is not None
    [rule] = release.verdict["rules"]
    assert rule["value"] < rule["live"]
    go_live(appliance)
    look_thrice(appliance)
    assert len(list_all(appliance.sessions)) == 1, "what it was trained on is not new"


def test_the_same_rows_make_no_release(live_with: Live) -> None:
    appliance = live_on_rows(live_with, "schedule = '* * * * *'")
    fall_due(appliance)
    made = ended(appliance)
    assert (made.state, made.release_id) == (RetrainingState.UNCHANGED, None)
    home = HomeLayout(appliance.settings.home)
    assert [path for path in home.list_recorded_data() if "retraining" in str(path)] == []


def test_what_was_trained_on_erased_rows_is_trained_again(live_with: Live) -> None:
    """It waits for another try, and its files were removed by an erasure."""
    appliance = live_with()
    calls = record_world(appliance, 0.8, count=120)
    commit = appliance.merge(model(RECORDED))
    appliance.settle()
    first = appliance.release(commit)
    home = HomeLayout(appliance.settings.home)
    rmtree.remove_tree(home.release_path(first.id) / "data")
    with appliance.sessions.begin() as session:
        delete_by_id(session, appliance.model, [UUID(calls[0])])
        session.execute(
            update(Release).values(status=Status.QUEUED, token=None).where(Release.id == first.id)
        )
    appliance.settle()

    again = appliance.release(commit)
    assert again.data is not None and first.data is not None
    assert again.data["train"]["recorded"]["begin"] > first.data["train"]["recorded"]["begin"]
    assert "age of the first: 1" in appliance.log(again, "train")
    assert "train: made again" in appliance.log(again, "data")


def test_a_live_model_that_knows_the_test_rows_is_not_compared(live_with: Live, tmp_path: Path) -> None:
    """Another release has gone live since the rows were chosen."""
    appliance = live_with()
    [live] = appliance.releases()
    inputs = GateInputs(
        snapshot=DeploymentSnapshot(None, None),
        live=Deployment(id=1, model=appliance.model, release_id=live.id, release=live),
        trained_until=datetime(2026, 1, 2, tzinfo=UTC),
    )
    context = BuildContext(appliance.settings, appliance.settings.list_models()[0], live)

    def score(begin: str) -> Baseline:
        period = RecordedPeriod(begin, begin, 20, begin)
        file = tmp_path / "test.csv"
        file.write_text("age,left\n1,0.4\n")
        return score_baseline(context, inputs, DataSet(file, "csv", "", 0, "", period), tmp_path / begin)

    known = score("2026-01-02T00:00:00+00:00")
    assert (known.metrics, known.note) == (None, KNOWS_TEST.format(live.id))
    assert score("2026-01-02T00:00:01+00:00").metrics == {"SMAPE": pytest.approx(0.5)}
