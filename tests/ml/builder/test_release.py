"""A release's life in the loop: compared fairly, cancelled, tagged, started warm, scored again, pruned."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, update

from common.errors import UnavailableError
from db import claims, deployments, release_queue, scores
from db.models import Release, Score
from db.states import Cause, Status, Trigger
from ml.controller import gc
from ml.paths import HomeLayout
from ml.sandbox.interpreter_record import Interpreter, write_record
from ml.sources import git_server
from tests.harness.repositories import Files, ModelRepository
from tests.harness.waiting import wait_until
from tests.ml.conftest import Appliance
from tests.models import working

GATE = "[gate]\nSMAPE = { better = 'lower', may_worsen_by = '5%' }\n"


def go_live(appliance: Appliance) -> None:
    """What serve would say."""
    with appliance.sessions.begin() as session:
        wanted = deployments.find_wanted(session, appliance.model)
        assert wanted is not None
        deployments.mark_live(session, wanted)


def live(appliance: Appliance, files: Files) -> Release:
    """Merge, build, and be live."""
    commit = appliance.merge(files)
    appliance.settle()
    go_live(appliance)
    return appliance.release(commit)


def test_a_worse_model_never_replaces_a_better_one(appliance: Appliance) -> None:
    live(appliance, {**working.quick(smape=0.20), "slipway.toml": GATE})
    worse = appliance.merge(working.quick(smape=0.30))
    appliance.settle()

    release = appliance.release(worse)
    assert (release.status, appliance.wanted()) == (Status.REJECTED, None)
    assert release.reason == "SMAPE 0.300, release 1 has 0.200 (may worsen by 5%)"
    assert release.verdict is not None
    assert release.verdict["rules"][0]["change"] == pytest.approx(0.5)


def counted(rows: int) -> dict[str, str]:
    """A model whose metric is a tenth of the number of its test rows."""
    files = working.quick()
    files["main.py"] = files["main.py"].replace("{'SMAPE': 0.25,", "{'SMAPE': len(test_data) / 10,")
    header, row, *_ = files["data/test.csv"].splitlines()
    return {**files, "data/test.csv": "\n".join([header, *[row] * rows]) + "\n", "slipway.toml": GATE}


def test_live_is_scored_again_when_the_test_data_changed(appliance: Appliance) -> None:
    """On the old data live had 0.1; on the new data both have 0.5: nothing worsened."""
    first = live(appliance, counted(rows=1))
    commit = appliance.merge(counted(rows=5))
    appliance.settle()

    release = appliance.release(commit)
    assert (release.status, release.reason) == (Status.DEPLOYED, None)
    assert release.verdict is not None
    assert "was scored again on the new data" in release.verdict["note"]
    assert release.verdict["rules"][0]["live"] == pytest.approx(0.5)
    assert release.verdict["compared_with"] == first.id


def tried(appliance: Appliance, commit: str) -> Release:
    """Look until a release was tried once."""

    def is_over() -> Release | None:
        appliance.look()
        release = appliance.release(commit)
        return release if release.attempts and not release.token else None

    release = wait_until(is_over, 60, "the release was tried")
    assert release is not None
    return release


def try_now(appliance: Appliance, release: Release, attempts: int) -> None:
    """Have a release that was put off be due, after so many tries."""
    with appliance.sessions.begin() as session:
        values = {"attempts": attempts, "due_at": func.now()}
        session.execute(update(Release).where(Release.id == release.id).values(**values))


@pytest.fixture
def mirrored(make_appliance: Callable[..., Appliance], tmp_path: Path) -> Appliance:
    """An appliance that fetches from a mirror, which is brought up to date by `git remote update`."""
    origin = ModelRepository(tmp_path / "repository")
    mirror = tmp_path / "mirror"
    subprocess.run(["git", "clone", "--quiet", "--mirror", origin.path, mirror], check=True)
    appliance = make_appliance(SLIPWAY_CLONE_URL=mirror.as_uri())
    appliance.began = datetime.now(UTC)
    return appliance


def test_a_commit_missing_from_the_mirror_is_waited_for(mirrored: Appliance, tmp_path: Path) -> None:
    """Whatever the clocks say: GitHub's is an hour behind Postgres's here."""
    mirrored.began -= timedelta(hours=1)
    commit = mirrored.merge(working.quick())

    release = tried(mirrored, commit)
    assert release.status is Status.QUEUED
    assert f"commit {commit} is not in" in str(release.reason)
    subprocess.run(["git", "-C", tmp_path / "mirror", "remote", "update"], check=True)
    try_now(mirrored, release, attempts=1)
    mirrored.settle()

    assert mirrored.release(commit).status is Status.DEPLOYED


def test_a_commit_that_never_comes_is_the_repositorys_fault(mirrored: Appliance) -> None:
    commit = mirrored.merge(working.quick())
    try_now(mirrored, tried(mirrored, commit), attempts=claims.MAX_ATTEMPTS - 1)
    mirrored.settle()

    assert mirrored.release(commit).status is Status.REJECTED
    assert "was main rewritten after the merge" in str(mirrored.release(commit).reason)


def test_a_live_model_that_is_gone_from_the_disk_is_waited_for(appliance: Appliance) -> None:
    first = live(appliance, counted(rows=1))
    appliance.lookout.home.artifact_path(appliance.model, first.id).unlink()
    commit = appliance.merge(counted(rows=5))

    release = tried(appliance, commit)
    assert release.status is Status.QUEUED
    assert f"release {first.id}, which it is held against, cannot be compared with" in str(release.reason)
    try_now(appliance, release, attempts=claims.MAX_ATTEMPTS - 1)
    appliance.settle()

    release = appliance.release(commit)
    assert (release.status, appliance.wanted()) == (Status.PASSED, None)
    assert f"release {first.id}, which it is held against, has no SMAPE on this test data" in str(
        release.reason
    )


def test_a_metric_with_a_new_name_waits_for_an_operator(appliance: Appliance) -> None:
    live(appliance, working.quick(smape=0.2))
    files = working.quick(smape=0.9)
    files["main.py"] = files["main.py"].replace("'SMAPE'", "'RMSE'")
    commit = appliance.merge(files)
    appliance.settle()

    release = appliance.release(commit)
    assert (release.status, appliance.wanted()) == (Status.PASSED, None)
    assert "which it is held against, never gave RMSE" in str(release.reason)


def test_the_verdict_has_how_a_metric_went_lately(appliance: Appliance) -> None:
    made = [live(appliance, working.quick(smape=smape)) for smape in (0.20, 0.21, 0.22)]

    assert made[2].verdict is not None
    assert made[2].verdict["trends"] == [
        {
            "metric": "SMAPE",
            "releases": 2,
            "first": 0.20,
            "first_release": made[0].id,
            "best": 0.20,
            "best_release": made[0].id,
        }
    ]


def test_promote_by_hand_stops_at_passed(appliance: Appliance) -> None:
    commit = appliance.merge({**working.quick(), "slipway.toml": '[release]\npromote = "manual"\n'})
    appliance.settle()

    assert (appliance.release(commit).status, appliance.wanted()) == (Status.PASSED, None)


def test_a_cancelled_release_ends_with_everything_it_started(appliance: Appliance) -> None:
    commit = appliance.merge(working.quick(seconds=600))
    release = appliance.wait_for_stage("train")
    tree = [
        p
        for pid in appliance.lookout.builders.list_pids()
        for p in psutil.Process(pid).children(recursive=True)
    ]
    with appliance.sessions.begin() as session:
        assert release_queue.cancel(session, release.id, who="dana")
    appliance.settle()
    wait_until(
        lambda: appliance.lookout.builders.reap_ended() or not appliance.lookout.builders.list_names(),
        30,
        "it ends",
    )

    assert appliance.release(commit).status is Status.CANCELLED
    assert not psutil.wait_procs(tree, timeout=20)[1]


def test_a_repository_may_be_released_on_tags(appliance: Appliance) -> None:
    tagged = {**working.quick(smape=0.3), "slipway.toml": '[release]\non = "tag"\n'}
    commit = appliance.merge(tagged)
    appliance.settle()
    assert appliance.release(commit).status is Status.SUPERSEDED

    for name in ("v1.9.0", "v1.10.0"):
        appliance.repository.git("tag", "--annotate", f"--message={name}", name)
    wait_until(
        lambda: (appliance.lookout.reconcile(), len(appliance.releases()) == 2)[1], 30, "the tag is seen"
    )
    appliance.settle()

    release = appliance.releases()[0]
    assert (release.trigger, release.ref, release.commit) == (Trigger.TAG, "v1.10.0", commit)
    assert release.status is Status.DEPLOYED


def test_the_disk_is_tidied_beside_looks_for_tags(appliance: Appliance) -> None:
    commit = appliance.merge({**working.quick(), "slipway.toml": '[release]\non = "tag"\n'})
    appliance.settle()
    release = appliance.release(commit)
    assert release.tree is not None  # it was checked out
    source = appliance.lookout.home.source_path(release.id)

    def is_gone() -> bool:
        appliance.lookout.reconcile()  # each starts another look for tags
        return not source.exists()

    wait_until(is_gone, 30, "what the superseded release had is gone")


def test_the_disk_is_tidied_while_something_is_built(make_appliance: Callable[..., Appliance]) -> None:
    appliance = make_appliance(SLIPWAY_BUILDS="1")
    first = appliance.merge({**working.quick(), "slipway.toml": '[release]\non = "tag"\n'})
    appliance.settle()
    source = appliance.lookout.home.source_path(appliance.release(first).id)
    building = appliance.merge({**working.quick(seconds=600), "slipway.toml": None})
    appliance.wait_for_stage("train")
    appliance.lookout.garbage.is_due = True
    appliance.lookout.reconcile()

    assert not source.exists()
    assert appliance.lookout.home.source_path(appliance.release(building).id).exists()
    with appliance.sessions.begin() as session:
        assert release_queue.cancel(session, appliance.release(building).id, who="dana")
    appliance.settle()


def test_old_logs_leave_with_the_folder(appliance: Appliance) -> None:
    tagged = {**working.quick(), "slipway.toml": '[release]\non = "tag"\n'}
    old, new = (appliance.release(settled(appliance, tagged)) for _ in range(2))
    logs = [appliance.lookout.home.logs_path(release.id) for release in (old, new)]
    long_ago = time.time() - gc.LOG_RETENTION_SECONDS - 60
    os.utime(logs[0], (long_ago, long_ago))
    appliance.lookout.garbage.is_due = True
    appliance.lookout.reconcile()

    assert [folder.exists() for folder in logs] == [False, True]
    assert not logs[0].parent.exists()


def test_what_a_killed_builder_left_beside_its_logs_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = HomeLayout(tmp_path).logs_path(1)
    for name in ("source-abc", "uv-abc"):
        (logs / name).mkdir(parents=True)
    (logs / "environment.log").touch()
    gc.sweep_releases(HomeLayout(tmp_path), [])
    assert (logs / "source-abc").exists()  # a server may be at work in it

    monkeypatch.setattr(gc, "UNUSED", -1)
    gc.sweep_releases(HomeLayout(tmp_path), [])
    assert [path.name for path in logs.iterdir()] == ["environment.log"]


def test_data_that_a_killed_process_left_leaves(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = appliance.release(settled(appliance, working.quick()))
    folder = appliance.lookout.home.release_path(release.id)
    left = [folder / name / "recorded" for name in ("quality.data", "retraining-3.data.new")]
    for path in left:
        path.mkdir(parents=True)
    gc.sweep_releases(appliance.lookout.home, [release])
    assert all(path.exists() for path in left)  # somebody may read it

    monkeypatch.setattr(gc, "UNUSED", -1)
    gc.sweep_releases(appliance.lookout.home, [release])
    assert not any(path.parent.exists() for path in left)
    assert (folder / "source").exists()


def test_fetched_pythons_leave_with_their_last_environment(tmp_path: Path) -> None:
    home = HomeLayout(tmp_path)
    used, unused, young = (home.pythons / f"cpython-3.{minor}.1-linux" for minor in (10, 12, 13))
    for python in (used, unused, young):
        (python / "bin").mkdir(parents=True)
        (python / "bin/python").touch()
    (home.pythons / "cpython-3.10-linux").symlink_to(used)
    (home.pythons / ".temp").mkdir()
    home.environment_path("abc").parent.mkdir()
    write_record(home.environment_path("abc"), Interpreter(used / "bin/python", "3.10.1"))
    long_ago = time.time() - gc.UNUSED - 60
    for entry in (used, unused, home.pythons / ".temp", home.environment_path("abc.json")):
        os.utime(entry, (long_ago, long_ago))
    gc.sweep_shared(home, [])
    assert not unused.exists()
    assert not used.exists()  # its environment was as old, and no release needs it
    assert young.exists()

    used.mkdir()
    write_record(home.environment_path("abc"), Interpreter(used / "bin/python", "3.10.1"))
    os.utime(used, (long_ago, long_ago))
    gc.sweep_shared(home, [])
    assert used.exists()
    assert (home.pythons / ".temp").exists()


def settled(appliance: Appliance, files: Files) -> str:
    commit = appliance.merge(files)
    appliance.settle()
    return commit


def test_the_lookout_rests_while_a_release_waits_for_its_model(appliance: Appliance) -> None:
    commit = appliance.merge(working.quick(seconds=600))
    appliance.wait_for_stage("train")
    queue(appliance, commit, None)
    appliance.lookout.reconcile()
    assert appliance.lookout.next_pause_seconds() == appliance.settings.poll_seconds

    with appliance.sessions.begin() as session:
        soon = func.now() + timedelta(seconds=appliance.settings.poll_seconds / 3)
        session.execute(update(Release).where(Release.status == Status.QUEUED).values(due_at=soon))
    assert 0 < appliance.lookout.next_pause_seconds() < appliance.settings.poll_seconds
    with appliance.sessions.begin() as session:
        for release in appliance.releases():
            release_queue.cancel(session, release.id, who="dana")
    appliance.settle()


def queue(appliance: Appliance, commit: str, warm_start: int | None) -> int:
    with appliance.sessions.begin() as session:
        return release_queue.queue_release(
            session,
            appliance.model,
            appliance.settings.repository,
            commit,
            Trigger.MANUAL,
            who="dana",
            warm_start=warm_start,
        ).id


def warm() -> dict[str, str]:
    files = working.quick()
    files["main.py"] = files["main.py"].replace(
        "def train(self, train_data)", "def train(self, train_data, previous)"
    )
    assert "previous" in files["main.py"]
    files["main.py"] = files["main.py"].replace(
        "print('training on'", "print('PREVIOUS', previous, 'training on'"
    )
    return files


def test_a_warm_start_hands_over_the_model_of_an_earlier_release(appliance: Appliance) -> None:
    first = live(appliance, warm())
    again = queue(appliance, first.commit, warm_start=first.id)
    appliance.settle()

    release = appliance.releases()[0]
    assert (release.id, release.status, release.requested_by) == (again, Status.DEPLOYED, "dana")
    assert "PREVIOUS None" in appliance.log(first, "train")
    assert "PREVIOUS b'" in appliance.log(release, "train")


def test_a_live_release_is_scored_again_without_training(appliance: Appliance) -> None:
    first = live(appliance, working.quick())

    score = scored(appliance)

    assert (score.status, score.metrics) == (Status.PASSED, first.metrics)


def test_a_score_that_breaks_ends_with_a_reason(appliance: Appliance) -> None:
    first = live(appliance, working.quick())
    appliance.lookout.home.log_path(first.id, "score").mkdir()  # nothing can be written to it

    score = scored(appliance)

    assert score.status is Status.FAILED
    assert "a bug of Slipway's, not of the release: IsADirectoryError" in str(score.reason)


def scored(appliance: Appliance) -> Score:
    """Ask for a score of what is live, and wait for its end."""
    with appliance.sessions.begin() as session:
        asked = scores.request_score(session, appliance.model, who="dana").id

    def ended() -> Score | None:
        appliance.look()
        with appliance.sessions.begin() as session:
            score = scores.find(session, asked)
            return score if score and score.status.has_ended else None

    score = wait_until(ended, 60, "the score is there")
    assert score is not None
    return score


def test_pruned_artifacts_and_ended_releases_leave_the_disk(
    make_appliance: Callable[..., Appliance],
) -> None:
    appliance = make_appliance(SLIPWAY_KEEP="2")
    made = [live(appliance, working.quick(smape=0.5 - number / 100)) for number in range(4)]
    home = appliance.lookout.home

    def is_pruned() -> bool:
        appliance.lookout.garbage.is_due = (
            True  # as after a build: the last one may have ended before it was live
        )
        appliance.look()
        return not home.artifact_path(appliance.model, made[1].id).exists()

    wait_until(is_pruned, 30, "what is not kept is gone")
    assert [home.artifact_path(appliance.model, r.id).exists() for r in made] == [False, False, True, True]
    assert [home.source_path(r.id).exists() for r in made] == [False, False, True, True]
    assert all(home.logs_path(r.id).exists() for r in made)


def test_a_rollback_while_a_newer_one_builds_ends_at_passed(appliance: Appliance) -> None:
    first = live(appliance, working.quick(smape=0.3))
    live(appliance, working.quick(smape=0.2))
    commit = appliance.merge(working.quick(smape=0.1, seconds=1))
    appliance.wait_for_stage("train")
    with appliance.sessions.begin() as session:
        deployments.roll_back(session, appliance.model, cause=Cause.ROLLBACK, who="dana", why=None)
    go_live(appliance)
    appliance.settle()

    assert appliance.release(commit).status is Status.PASSED
    with appliance.sessions.begin() as session:
        deployment = deployments.find_live(session, appliance.model)
        assert deployment is not None
        assert deployment.release_id == first.id
    newer = live(appliance, working.quick(smape=0.1))
    assert newer.status is Status.DEPLOYED


def test_of_200_merges_while_one_builds_only_the_newest_is_built(appliance: Appliance) -> None:
    first = appliance.merge(working.quick(seconds=3))
    appliance.wait_for_stage("train")
    commit = appliance.repository.merge_pull_request(1000, working.quick(smape=0.1))
    for number in range(2, 201):
        appliance.ingest(number, f"{number:040x}")
    appliance.ingest(201, commit)
    appliance.settle()

    built = [release for release in appliance.releases() if release.status is Status.DEPLOYED]
    assert [release.commit for release in built] == [commit, first]


def test_tags_of_an_unreachable_repository_are_the_worlds_fault(appliance: Appliance) -> None:
    model = replace(appliance.settings.list_models()[0], clone_url="http://127.0.0.1:9/x.git")
    with pytest.raises(UnavailableError, match="cannot be fetched"):
        git_server.list_tags(model)
