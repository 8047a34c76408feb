"""What becomes of a merge: real git, real Postgres, real processes, no model in front of users yet."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from db import claims, deployments, releases
from db.appliance import seconds_since_heartbeat, set_mode
from db.claims import Claim, Deployed
from db.states import Cause, Status
from ml.builder import build
from tests.harness.faults import Clock
from tests.harness.waiting import wait_until
from tests.ml.conftest import Appliance
from tests.models import faulty, working

PLAIN = {
    "numpy metrics": working.numpy_metrics,
    "dated predictions": working.dated_predictions,
    "prints": working.talkative,
    "namesakes": working.namesakes,
    "HTML in info": working.html_in_info,
    "own requirements": working.own_requirements,
    "state in the module": working.module_state,
    "a regressor": working.regressor,
}


def test_a_merge_becomes_a_release_that_is_wanted_live(appliance: Appliance) -> None:
    commit = appliance.merge(working.quick(smape=0.25))
    appliance.settle()

    release = appliance.release(commit)
    assert (release.status, release.reason) == (Status.DEPLOYED, None)
    assert release.metrics is not None
    assert release.metrics["SMAPE"] == 0.25
    assert release.kind == "time-series"
    assert appliance.wanted() == release.id
    with appliance.sessions.begin() as session:
        found = releases.find(session, release.id)
        assert found is not None
        stages = [stage.name for stage in found.stages]
    assert stages == ["checkout", "environment", "data", "train", "evaluate", "gate", "deploy"]
    assert not (appliance.settings.home / f"releases/{release.id}/source/.git").exists()


@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_interface_runs_unchanged(name: str, appliance: Appliance) -> None:
    commit = appliance.merge(PLAIN[name]())
    appliance.settle()

    release = appliance.release(commit)
    assert (release.status, release.reason) == (Status.DEPLOYED, None)


@pytest.mark.parametrize("name", faulty.FAULTS)
def test_a_faulty_commit_is_rejected_in_words_for_its_author(
    name: str, make_appliance: Callable[..., Appliance]
) -> None:
    appliance = make_appliance(SLIPWAY_TRAIN_TIMEOUT="3" if name == "train hangs" else "60")
    fault = faulty.FAULTS[name]
    commit = appliance.merge(fault.files)
    appliance.settle()

    release = appliance.release(commit)
    assert (release.status, appliance.wanted()) == (Status.REJECTED, None)
    assert release.reason is not None
    for word in fault.says:
        assert word.lower() in release.reason.lower()
    assert "Traceback" not in release.reason


def test_a_fault_does_not_stop_the_next_merge(appliance: Appliance) -> None:
    broken = appliance.merge(faulty.TRAIN["train raises"].files)
    appliance.settle()
    good = appliance.merge(working.quick())
    appliance.settle()

    assert appliance.release(broken).status is Status.REJECTED
    assert appliance.wanted() == appliance.release(good).id


def test_only_the_newest_merge_between_two_looks_is_built(appliance: Appliance) -> None:
    first = appliance.merge(working.quick(smape=0.3))
    appliance.settle()
    older = [appliance.merge(working.quick(smape=smape)) for smape in (0.29, 0.28)]
    newest = appliance.merge(working.quick(smape=0.27))
    appliance.settle()

    assert [appliance.release(c).status for c in (first, newest)] == [Status.DEPLOYED] * 2
    assert [appliance.release(c).status for c in older] == [Status.SUPERSEDED] * 2
    assert appliance.release(older[0]).reason == "#4 was merged after it, before it was begun"


def test_the_merge_commit_is_built_and_not_the_branch_head(appliance: Appliance) -> None:
    merged = appliance.merge(working.quick(smape=0.3))
    appliance.repository.write(working.quick(smape=0.1)).commit("Pushed past the pull request")
    appliance.settle()

    release = appliance.release(merged)
    assert release.metrics is not None
    assert release.metrics["SMAPE"] == 0.3


def test_other_branches_and_closed_pull_requests_are_not_built(appliance: Appliance) -> None:
    head = appliance.repository.propose(7, working.quick())
    appliance.ingest(7, head, merged=False)
    appliance.ingest(8, head, branch="develop")
    appliance.settle()

    assert appliance.releases() == []


def test_a_missing_commit_is_waited_for(appliance: Appliance) -> None:
    commit = appliance.merge({}, commit="0123456789abcdef0123456789abcdef01234567")
    appliance.wait_for_stage("checkout")
    appliance.lookout.builders.wait_for_all()

    release = appliance.release(commit)
    assert release.status is Status.QUEUED
    assert release.reason is not None
    assert f"commit {commit} is not in" in release.reason


def test_an_unreachable_repository_is_tried_again_later(make_appliance: Callable[..., Appliance]) -> None:
    appliance = make_appliance(SLIPWAY_CLONE_URL="http://127.0.0.1:9/acme/web-traffic.git")
    appliance.merge(working.quick())
    appliance.wait_for_stage("checkout")
    appliance.lookout.builders.wait_for_all()

    release = appliance.releases()[0]
    assert release.status is Status.QUEUED
    assert release.due_at > release.created_at
    assert release.reason is not None
    assert "SLIPWAY_CLONE_URL" in release.reason


def taken(appliance: Appliance) -> Claim:
    """A merged release, in the hands of the test."""
    appliance.merge(working.quick())
    appliance.lookout.queue_merges(appliance.settings.list_models()[0])
    with appliance.sessions.begin() as session:
        claim = claims.claim(session, appliance.releases()[0].id)
        assert claim is not None
        return claim


def test_a_full_disk_of_postgres_puts_a_release_off_and_is_named(appliance: Appliance) -> None:
    def find_disk_full() -> Deployed:
        said = "could not extend file: No space left on device"
        with appliance.sessions.begin() as session:
            raised = f"RAISE EXCEPTION '{said}' USING ERRCODE = 'disk_full'"
            session.execute(text(f"DO $$ BEGIN {raised}; END $$"))
        raise AssertionError

    build.build(appliance.sessions, taken(appliance), find_disk_full, appliance.settings.home)
    release = appliance.releases()[0]
    assert release.status is Status.QUEUED
    assert (release.reason or "").startswith("Postgres is away: its disk is full, make room there")
    assert release.due_at > release.created_at


def test_decisions_without_end_keep_no_builder(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "RESTS", (0.0, 0.0, 0.0), raising=False)
    claim = taken(appliance)
    asked: list[int] = []

    def overtaken() -> Deployed:
        """Somebody decides each time that the gate has compared."""
        asked.append(claim.release.id)
        assert len(asked) < 10
        with appliance.sessions.begin() as session:
            seen = deployments.take_snapshot(session, appliance.model)
            cause, who = Cause.OPERATOR, "dana"
            deployments.create_decision(
                session, appliance.model, claim.release.id, cause, who=who, why=None, snapshot=None
            )
        return Deployed(seen)

    build.build(appliance.sessions, claim, overtaken, appliance.settings.home)
    release = appliance.releases()[0]
    assert (release.status, release.attempts) == (Status.QUEUED, 0)
    assert "decisions were made" in (release.reason or "")
    assert release.due_at > release.created_at


@pytest.mark.parametrize("hours", [1, -1])
def test_a_builder_with_a_wrong_clock_puts_off_by_postgres_s(
    make_appliance: Callable[..., Appliance], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hours: int
) -> None:
    clock = Clock(tmp_path / "time")
    clock.set(hours * 3600)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    appliance = make_appliance(SLIPWAY_CLONE_URL="http://127.0.0.1:9/acme/web-traffic.git")
    appliance.merge(working.quick())
    appliance.wait_for_stage("checkout")
    appliance.lookout.builders.wait_for_all()

    release = appliance.releases()[0]
    assert release.status is Status.QUEUED
    assert timedelta(seconds=10) < release.due_at - release.created_at < timedelta(minutes=5)


def test_the_look_out_says_when_it_looked(appliance: Appliance) -> None:
    with appliance.sessions.begin() as session:
        set_mode(session, "repository")
        assert seconds_since_heartbeat(session) is None
    appliance.lookout.reconcile()
    with appliance.sessions.begin() as session:
        assert seconds_since_heartbeat(session) is not None


def test_data_may_lie_on_the_appliance(appliance: Appliance) -> None:
    folder = appliance.settings.data_folders(appliance.model).own
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        (folder / f"{name}.csv").write_text(working.quick()[f"data/{name}.csv"])
    commit = appliance.merge(working.without_data())
    appliance.settle()

    assert appliance.release(commit).status is Status.DEPLOYED


def test_model_code_sees_no_secret(
    make_appliance: Callable[..., Appliance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_secret")
    monkeypatch.setenv("SLIPWAY_TOKEN", "for-operators-only")
    appliance = make_appliance()
    files = working.quick()
    files["main.py"] = files["main.py"].replace(
        "import time", "import os, time\nprint('ENVIRONMENT', sorted(os.environ.items()))", 1
    )
    commit = appliance.merge(files)
    appliance.settle()

    said = appliance.log(appliance.release(commit), "train")
    assert "ENVIRONMENT" in said
    for secret in ("ghp_secret", "for-operators-only", "postgresql", "DATABASE_URL"):
        assert secret not in said


def test_what_training_leaves_running_ends_with_it(appliance: Appliance) -> None:
    files = working.quick()
    daemon = "import subprocess; subprocess.Popen(['sleep', '4711'], start_new_session=True)"
    files["main.py"] = files["main.py"].replace("import time", f"import time\n{daemon}", 1)
    commit = appliance.merge(files)
    appliance.settle()

    assert appliance.release(commit).status is Status.DEPLOYED
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "4711"]]


def test_what_is_wrong_with_one_model_stops_no_other(
    make_appliance: Callable[..., Appliance], tmp_path: Path, lines: list[str]
) -> None:
    url = (tmp_path / "repository").as_uri()
    file = tmp_path / "models.toml"
    file.write_text(
        "".join(f'[{name}]\nrepository = "acme/{name}"\nclone_url = "{url}"\n' for name in ("one", "two"))
    )
    appliance = make_appliance(SLIPWAY_REPOSITORY="", SLIPWAY_CLONE_URL="", SLIPWAY_MODELS=str(file))
    commit = appliance.repository.merge_pull_request(1, working.quick())
    with appliance.sessions.begin() as session:
        session.execute(text("ALTER TABLE releases ADD CHECK (model <> 'one')"))
    appliance.ingest(1, commit, repository="acme/one")
    appliance.ingest(2, commit, repository="acme/two")
    appliance.settle()

    assert [(release.model, release.status) for release in appliance.releases()] == [("two", Status.DEPLOYED)]
    assert "reconciling one broke" in "".join(lines)


@pytest.mark.parametrize("late", [None, 5, 9])
def test_of_merges_in_one_second_the_newest_by_history_is_built(
    appliance: Appliance, late: int | None
) -> None:
    """#9 was merged first, and #5 on top of it; one of them may be seen later."""
    older = appliance.repository.merge_pull_request(9, working.quick(smape=0.2))
    tip = appliance.repository.merge_pull_request(5, working.quick(smape=0.1))
    for number, commit in {9: older, 5: tip}.items():
        if number != late:
            ingest_in_one_second(appliance, number, commit)
    if late is not None:
        appliance.settle(180)
        ingest_in_one_second(appliance, late, {9: older, 5: tip}[late])
    wait_until(lambda: (appliance.lookout.reconcile(), knows(appliance, tip))[1], 60, "the tip is known")
    appliance.settle()

    assert appliance.wanted() == appliance.release(tip).id


def ingest_in_one_second(appliance: Appliance, number: int, commit: str) -> None:
    appliance.ingest(number, commit)
    with appliance.sessions.begin() as session:
        session.execute(text("UPDATE vcs.pull_requests SET merged_at = :at"), {"at": appliance.began})


def knows(appliance: Appliance, commit: str) -> bool:
    return commit in [release.commit for release in appliance.releases()]
