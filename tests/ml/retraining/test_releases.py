"""A retraining is a release of the live commit, through every stage; or none, where nothing has changed."""

import os
import signal
from collections.abc import Callable

import pytest
from sqlalchemy import func, select, update

from db.models import Quarantine
from db.retraining_models import Retraining, RetrainingPlan
from db.states import RetrainingState, Status, Trigger
from tests.harness.shelf import PIECE, Shelf
from tests.harness.waiting import wait_until
from tests.ml.builder.test_release import go_live
from tests.ml.checks.support import stages as outcomes
from tests.ml.conftest import Appliance
from tests.ml.retraining.conftest import manifest, model, rows
from tests.ml.retraining.support import list_all, roll_back
from tests.models import working

LiveOn = Callable[..., Appliance]
EVERY_MINUTE = 'schedule = "* * * * *"'


def fall_due(appliance: Appliance) -> None:
    """Let the schedule be one that is followed since yesterday."""
    appliance.lookout.reconcile()
    with appliance.sessions.begin() as session:
        session.execute(update(RetrainingPlan).values(since=func.now() - func.make_interval(0, 0, 0, 1)))


def ended(appliance: Appliance, count: int = 1) -> Retraining:
    """Look until so many retrainings are recorded, and the newest waits no more; return that."""

    def newest() -> Retraining | None:
        appliance.looks_at = 0.0
        appliance.look()
        found = list_all(appliance.sessions)
        waits = RetrainingState.WAITING
        return found[-1] if len(found) >= count and found[-1].state is not waits else None

    found = wait_until(newest, 60, "a retraining has begun")
    assert found is not None
    return found


def test_new_data_is_trained_on_and_live_is_scored_on_it(live_on: LiveOn, shelf: Shelf) -> None:
    appliance = live_on("on_data = true")
    [first] = appliance.releases()
    shelf.put(rows(0.8), "/train.csv")
    shelf.put(rows(0.8), "/test.csv")

    made = ended(appliance)
    appliance.settle()

    release = appliance.releases()[0]
    assert (release.id, release.trigger, release.commit) == (made.release_id, Trigger.DATA, first.commit)
    assert release.title == made.reason
    assert made.reason.startswith("the data has changed: train (http://127.0.0.1")
    assert release.status is Status.DEPLOYED, release.reason
    assert list(outcomes(appliance, release)) == [
        *("checkout", "environment", "data", "train", "evaluate", "gate", "deploy")
    ]
    assert release.verdict is not None
    [rule] = release.verdict["rules"]
    assert (rule["value"], rule["live"]) == (pytest.approx(0), pytest.approx(0.75))
    assert release.verdict["compared_with"] == first.id
    assert "was scored again on the new data" in release.verdict["note"]
    go_live(appliance)
    for _ in range(3):  # it is trained on what is there now
        seen = plan(appliance).data_checked_at
        wait_until(lambda seen=seen: look_again(appliance) != seen, 30, "the data was looked at")
    assert len(list_all(appliance.sessions)) == 1


def plan(appliance: Appliance) -> RetrainingPlan:
    with appliance.sessions.begin() as session:
        return session.scalars(select(RetrainingPlan)).one()


def look_again(appliance: Appliance) -> object:
    appliance.lookout.reconcile()
    return plan(appliance).data_checked_at


def test_data_that_is_worse_for_the_model_is_rejected_once(live_on: LiveOn, shelf: Shelf) -> None:
    """The new training data is of another world than the test data."""
    appliance = live_on("on_data = true\ncooldown = '1s'")
    shelf.put(rows(0.9), "/train.csv")

    ended(appliance)
    appliance.settle()

    assert appliance.releases()[0].status is Status.REJECTED
    wait_until(lambda: look_again(appliance) and not plan(appliance).data_due, 30, "nothing is due")
    for _ in range(3):
        seen = plan(appliance).data_checked_at
        wait_until(lambda seen=seen: look_again(appliance) != seen, 30, "the data was looked at")
    assert len(list_all(appliance.sessions)) == 1


def test_what_would_be_live_again_makes_no_release(live_on: LiveOn) -> None:
    appliance = live_on(EVERY_MINUTE)
    fall_due(appliance)

    made = ended(appliance)

    assert (made.state, made.release_id) == (RetrainingState.UNCHANGED, None)
    assert made.outcome == (
        "no release was made: files, packages, data and warm start are those of release 1, which is live"
    )
    assert len(appliance.releases()) == 1


def test_what_was_rolled_back_is_not_trained_once_more(live_on: LiveOn, shelf: Shelf) -> None:
    """With the same data it would be what was rolled back; with other data it is tried."""
    appliance = live_on(EVERY_MINUTE)
    shelf.put(rows(0.8), "/train.csv")
    shelf.put(rows(0.8), "/test.csv")
    fall_due(appliance)
    ended(appliance)
    appliance.settle()
    go_live(appliance)
    bad = appliance.releases()[0]
    assert bad.status is Status.DEPLOYED, bad.reason
    assert roll_back(appliance.sessions, appliance.model) == appliance.releases()[1].id
    with appliance.sessions.begin() as session:  # the day after
        session.execute(update(Quarantine).values(since=func.now() - func.make_interval(0, 0, 0, 1)))
        earlier = {"scheduled_at": None, "created_at": func.now() - func.make_interval(0, 0, 0, 1)}
        session.execute(update(Retraining).values(earlier))

    again = ended(appliance, 2)
    assert again.outcome == (
        f"no release was made: files, packages, data and warm start are those of release {bad.id}, "
        "which was rolled back"
    )


def test_a_warm_start_begins_with_the_live_model(live_on: LiveOn) -> None:
    appliance = live_on(f"{EVERY_MINUTE}\nwarm_start = true")
    fall_due(appliance)

    made = ended(appliance)
    appliance.settle()

    release = appliance.releases()[0]
    assert (release.trigger, release.warm_start) == (Trigger.SCHEDULE, 1)
    assert made.release_id == release.id
    assert "(UTC) was due at" in str(release.title)


def test_a_merge_ends_a_retraining_that_is_built(live_on: LiveOn, shelf: Shelf) -> None:
    slow = 'import os, time\nif float(train_data["visits"].mean()) > 0.5: time.sleep(600)'
    appliance = live_on("on_data = true", slow)
    shelf.put(rows(0.8), "/train.csv")
    ended(appliance)
    building = appliance.wait_for_stage("train")
    assert building.trigger is Trigger.DATA

    shelf.put(rows(0.2), "/train.csv")
    commit = appliance.merge({**model("pass"), "slipway.toml": manifest(shelf, "on_data = true")})
    appliance.settle()

    left = next(release for release in appliance.releases() if release.id == building.id)
    assert left.status is Status.SUPERSEDED
    assert left.reason == "#2 was merged after it, before it was finished"
    assert appliance.release(commit).status is Status.DEPLOYED
    assert set(outcomes(appliance, left).values()) == {"done", "failed"}


def test_a_merge_frees_the_place_of_a_slow_comparison(live_on: LiveOn, shelf: Shelf) -> None:
    """The data of a retraining takes minutes to come, and builds have one place."""
    appliance = live_on("on_data = true")
    shelf.put(rows(0.8) + b"\n" * 20 * PIECE, "/train.csv").pause = 20
    shelf.methods()
    wait_until(lambda: look_again(appliance) and "GET" in shelf.methods(), 30, "its data is downloaded")
    assert "retraining 1" in appliance.lookout.builders

    shelf.put(rows(0.2), "/train.csv")
    commit = appliance.merge(working.quick(smape=0.0))
    wait_until(
        lambda: look_again(appliance) and appliance.release(commit).status.has_ended, 30, "it is built"
    )

    [superseded] = list_all(appliance.sessions)
    assert (superseded.state, superseded.attempts) == (RetrainingState.SUPERSEDED, 0)
    assert not list(appliance.settings.home.rglob("retraining-1.data*"))


def test_a_killed_controller_begins_what_fell_due(live_on: LiveOn) -> None:
    """The row is there, and whoever comes next goes on with it."""
    appliance = live_on(f"{EVERY_MINUTE}\nwarm_start = true")
    fall_due(appliance)
    appliance.lookout.plan_retrainings()  # and is killed here
    [waiting] = list_all(appliance.sessions)
    assert waiting.state is RetrainingState.WAITING

    for _ in range(2):  # two that go on with it at once
        appliance.lookout.builders.start(f"other {_}", "ml.builder.retrain", str(waiting.id))
    ended(appliance)
    appliance.settle()

    made = [release for release in appliance.releases() if release.trigger is Trigger.SCHEDULE]
    assert [one.release_id for one in list_all(appliance.sessions)] == [made[0].id]
    assert len(made) == 1


def test_a_comparison_that_died_too_often_ends(live_on: LiveOn) -> None:
    appliance = live_on(EVERY_MINUTE)
    fall_due(appliance)
    appliance.lookout.plan_retrainings()
    with appliance.sessions.begin() as session:
        session.execute(update(Retraining).values(attempts=5))

    made = ended(appliance)

    assert made.state is RetrainingState.FAILED
    assert "died 5 times" in str(made.outcome)
    assert len(appliance.releases()) == 1


def test_a_look_at_data_that_dies_is_to_be_seen(live_on: LiveOn) -> None:
    appliance = live_on("on_data = true")
    daemons = appliance.lookout.daemons
    wait_until(lambda: daemons.reap_ended() or not daemons.list_names(), 30, "no look is under way")
    daemons.start(f"data {appliance.model}", "http.server", "0")
    os.kill(daemons.list_pids()[0], signal.SIGKILL)
    wait_until(lambda: appliance.lookout.reap_children() or not daemons.list_names(), 30, "it is dead")

    assert plan(appliance).data_problem == (
        "the process that looks at the data died (exit status -9): is there enough memory?"
    )
    wait_until(lambda: look_again(appliance) and not plan(appliance).data_problem, 60, "it is looked at")


def test_an_address_that_fails_is_told_once(live_on: LiveOn, shelf: Shelf) -> None:
    appliance = live_on("on_data = true")
    shelf.items["/train.csv"].status = shelf.items["/train.csv"].head = 404

    wait_until(lambda: look_again(appliance) and plan(appliance).data_problem, 30, "the problem is stored")

    assert "answers 404 Not Found" in str(plan(appliance).data_problem)
    commit = appliance.merge({**working.quick(smape=0.0)})  # and holds nothing up
    shelf.items["/train.csv"].status = shelf.items["/train.csv"].head = 200
    appliance.settle()
    assert appliance.release(commit).status.has_ended
    wait_until(lambda: look_again(appliance) and not plan(appliance).data_problem, 30, "it is gone")
