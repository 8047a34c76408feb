"""Files of many checks beside those of releases that may be live again: what is pruned, and what stays."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from db import deployments, merge_groups
from db.merge_groups import NO_QUEUE
from db.models import Release
from db.states import Cause, DeploymentState, Status, Trigger
from ml.controller.pruning import UNFOLLOWED_SECONDS
from ml.controller.reconciler import Reconciler
from ml.settings import MlSettings
from tests.ml.builder.test_release import go_live
from tests.ml.checks.support import list_checks, show
from tests.ml.conftest import Appliance

OPEN = range(1, 51)


@pytest.fixture
def crowded(make_appliance: Callable[..., Appliance]) -> Appliance:
    """One that keeps two releases of the five that were live, and has two checks of each pull request."""
    appliance = make_appliance(SLIPWAY_KEEP="2")
    for number in range(1, 6):
        release = store(appliance, f"change {number}", Trigger.MERGE, Status.DEPLOYED)
        deploy(appliance, release)
    for number in OPEN:
        store(appliance, f"old {number}", Trigger.CHECK, Status.CHECKED, number)
        status = Status.CHECKED if number % 2 else Status.REJECTED
        store(appliance, f"head {number}", Trigger.CHECK, status, number)
        show(appliance, number, f"head {number}")
    return appliance


def store(
    appliance: Appliance,
    commit: str,
    trigger: Trigger,
    status: Status,
    pull_request: int | None = None,
    *,
    ref: str | None = None,
) -> Release:
    """Store a release that was built, with its trained model."""
    model = appliance.settings.list_models()[0]
    release = Release(model=model.name, repository=model.repository, commit=commit, trigger=trigger)
    release.status, release.pull_request, release.artifact = status, pull_request, "a digest"
    release.ref = ref
    with appliance.sessions.begin() as session:
        session.add(release)
        session.flush()
        session.expunge(release)
    artifact(appliance, release).parent.mkdir(parents=True, exist_ok=True)
    artifact(appliance, release).write_text(commit)
    return release


def artifact(appliance: Appliance, release: Release) -> Path:
    return appliance.lookout.home.artifact_path(release.isolation, release.id)


def deploy(appliance: Appliance, release: Release) -> None:
    with appliance.sessions.begin() as session:
        made = deployments.create_decision(
            session, appliance.model, release.id, Cause.GATE, who="slipway", why=None, snapshot=None
        )
        assert made.state is DeploymentState.WANTED
    go_live(appliance)


def roll_back(appliance: Appliance) -> str:
    """Roll back by hand, and return the commit that is to be live."""
    with appliance.sessions.begin() as session:
        made = deployments.roll_back(session, appliance.model, cause=Cause.ROLLBACK, who="dana", why=None)
        return session.get_one(Release, made.release_id).commit


def list_kept(appliance: Appliance) -> dict[str, str]:
    """Prune, and return the trained models that are there, by commit."""
    appliance.lookout.garbage.is_due = True
    appliance.lookout.collect_garbage()
    return {
        release.commit: artifact(appliance, release).read_text()
        for release in reversed(appliance.releases())
        if artifact(appliance, release).exists()
    }


def test_fifty_open_pull_requests_prune_no_rollback_target(crowded: Appliance) -> None:
    newest_checks = [f"head {number}" for number in OPEN]
    assert list(list_kept(crowded)) == ["change 4", "change 5", *newest_checks]
    assert roll_back(crowded) == "change 4"
    go_live(crowded)
    assert list(list_kept(crowded)) == ["change 4", "change 5", *newest_checks]


def test_what_a_release_took_over_outlives_its_check(crowded: Appliance) -> None:
    taken = next(check for check in list_checks(crowded) if check.commit == "head 7")
    merged = store(crowded, "change 6", Trigger.MERGE, Status.DEPLOYED, 7)
    artifact(crowded, merged).unlink()
    os.link(artifact(crowded, taken), artifact(crowded, merged))
    deploy(crowded, merged)
    for number in OPEN:
        show(crowded, number, f"head {number}", state="closed")

    assert list_kept(crowded) == {"change 5": "change 5", "change 6": "head 7"}


def test_a_rollback_target_stays_behind_many_of_one_commit(crowded: Appliance) -> None:
    """Of its own commit the newest of them, and of the commit before it the newest one too."""
    for _ in range(3):
        again = store(crowded, "change 5", Trigger.MANUAL, Status.DEPLOYED)
        deploy(crowded, again)
    list_kept(crowded)
    goes_back = []
    for _ in range(2):
        goes_back.append(roll_back(crowded))
        go_live(crowded)
    assert goes_back == ["change 5", "change 4"]


def list_later(appliance: Appliance, lookout: Reconciler | None = None) -> list[str]:
    """Reconcile as after a minute in which no build has ended, and return the commits with files."""
    lookout = lookout or appliance.lookout
    assert not lookout.garbage.is_due
    lookout.garbage.prune_due = 0.0
    lookout.collect_garbage()
    return [each.commit for each in reversed(appliance.releases()) if artifact(appliance, each).exists()]


def test_what_a_live_release_has_replaced_goes_without_a_build(crowded: Appliance) -> None:
    list_kept(crowded)
    deploy(crowded, store(crowded, "change 6", Trigger.MERGE, Status.DEPLOYED))
    for number in OPEN[1:]:
        show(crowded, number, f"head {number}", state="closed")

    assert list_later(crowded) == ["change 5", "head 1", "change 6"]


def test_files_of_a_group_that_another_process_has_ended_go(crowded: Appliance) -> None:
    ref = f"gh-readonly-queue/main/pr-7-{'a' * 40}"
    store(crowded, "of the queue", Trigger.CHECK, Status.CHECKED, 7, ref=ref)
    kept = list(list_kept(crowded))
    assert "of the queue" in kept
    with crowded.sessions.begin() as session:  # as a process that lists tags does
        merge_groups.end_gone(session, crowded.model, NO_QUEUE)

    assert list_later(crowded) == [commit for commit in kept if commit != "of the queue"]


def test_a_model_not_followed_keeps_what_a_rollback_needs(
    crowded: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(crowded, "change 6", Trigger.MERGE, Status.PASSED)
    store(crowded, "change 7", Trigger.MERGE, Status.PASSED)
    kept = list(list_kept(crowded))
    monkeypatch.setenv("SLIPWAY_REPOSITORY", "acme/other")
    lookout = Reconciler(MlSettings(), crowded.lookout.sessions)
    lookout.collect_garbage()
    assert list_later(crowded, lookout) == kept

    note = lookout.home.unfollowed / crowded.model
    os.utime(note, (time.time() - UNFOLLOWED_SECONDS - 60,) * 2)
    crowded.lookout.garbage.prune_due = 0.0
    crowded.lookout.collect_garbage()  # named again
    assert not note.exists()
    assert list_later(crowded, lookout) == kept

    os.utime(note, (time.time() - UNFOLLOWED_SECONDS - 60,) * 2)
    assert list_later(crowded, lookout) == ["change 4", "change 5"]
    assert roll_back(crowded) == "change 4"
