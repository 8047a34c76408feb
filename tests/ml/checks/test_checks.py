"""Checks of open pull requests, with real git and builders: judged before the merge, and reused by it."""

from collections.abc import Callable
from os.path import samestat
from pathlib import Path

import pytest
from sqlalchemy import select

from db import appliance as appliance_state
from db import deployments
from db.models import Release
from db.states import Cause, Status, Trigger
from db.vcs_models import OutboxSubject
from ml.controller import checks as check_files
from ml.environments import locks
from ml.paths import HomeLayout
from tests.harness.packages import build_wheel, put_package
from tests.harness.shelf import Shelf
from tests.harness.waiting import wait_until
from tests.ml.builder.test_release import go_live
from tests.ml.checks.support import FIRST, GATE, approve, list_checks, merge, propose, show, stages
from tests.ml.conftest import Appliance
from tests.ml.environments.test_own_projects import project
from tests.ml.monitor.conftest import typed_model
from tests.models import working


def test_a_better_head_is_checked_and_deployed_by_nobody(live: Appliance) -> None:
    check = propose(live, 7, working.quick(smape=0.10))
    assert (check.status, check.trigger, check.pull_request) == (Status.CHECKED, Trigger.CHECK, 7)
    assert check.metrics == {"SMAPE": 0.1, "rows": 2}
    assert check.verdict is not None and check.verdict["rules"][0]["live"] == 0.2
    assert check.differences is not None and check.base == live.repository.head
    assert live.wanted() is None
    assert list(stages(live, check)) == ["checkout", "environment", "data", "train", "evaluate", "gate"]


def test_a_check_run_names_the_line_that_failed(live: Appliance) -> None:
    with live.sessions.begin() as session:
        appliance_state.set_mode(session, "repository")
        appliance_state.set_app(session, is_set=True)
    files = working.quick(smape=0.1)
    code = files["main.py"].replace(
        "print('training on'", "raise ValueError('no rows')\n        print('training on'"
    )
    check = propose(live, 7, {**files, "main.py": code})

    with live.sessions.begin() as session:
        chosen = select(OutboxSubject.facts).where(OutboxSubject.kind == "check_run")
        (facts,) = session.scalars(chosen)
    assert (check.status, facts["state"], facts["check"]) == (Status.REJECTED, "failure", check.id)
    line = 1 + next(at for at, text in enumerate(code.splitlines()) if "raise ValueError" in text)
    assert facts["annotations"] == [{"path": "main.py", "line": line, "message": "ValueError: no rows"}]
    assert "no rows" in facts["summary"]


def test_a_worse_head_is_rejected_and_names_the_rules_it_changes(live: Appliance) -> None:
    record = '[record]\nsample = 0.1\n[record.fields]\nzip = "drop"\nage = "keep"\n'
    toml = GATE.replace("5%", "9%") + "rows = { max = 100 }\n" + record
    loose = {**working.quick(smape=0.3), "slipway.toml": toml}
    check = propose(live, 7, loose)
    assert check.status is Status.REJECTED
    assert check.verdict is not None
    assert check.verdict["changed_rules"] == [
        "SMAPE: better = lower, may_worsen_by = 0.05 → better = lower, may_worsen_by = 0.09",
        "rows: no rule → max = 100.0",
    ]
    assert check.verdict["changed_recording"] == [
        "sample = 1 → 0.1 (records less)",
        "fields.zip = keep → drop (records less)",
    ]


def test_a_head_that_records_more_is_named_on_its_pull_request(live: Appliance) -> None:
    """What is recorded more comes first: a thousand other changes do not hide it."""
    quick = working.quick(smape=0.1)
    record = "[record]\nenabled = {}\nsample = 0.5\n[record.fields]\n"
    strict = f'{record.format("false")}zip = "hash"\naaa = "hash"\n'
    live.merge({**quick, "slipway.toml": GATE + strict})
    live.settle()
    check = propose(live, 7, {**quick, "slipway.toml": GATE + f'{record.format("true")}aaa = "drop"\n'})

    assert check.verdict is not None
    assert check.verdict["changed_recording"] == [
        "enabled = false → true (records more)",
        "fields.zip = hash → keep (records more)",
        "fields.aaa = hash → drop (records less)",
    ]
    with live.sessions.begin() as session:
        facts = session.scalars(select(OutboxSubject.facts).where(OutboxSubject.kind == "comment")).all()
    assert any(one.get("changed_recording") == check.verdict["changed_recording"] for one in facts)


def test_a_conflict_is_a_verdict_of_its_own(live: Appliance) -> None:
    head = live.repository.propose(7, working.quick(smape=0.1))
    live.repository.write(working.quick(smape=0.15)).commit("Meanwhile")
    show(live, 7, head)
    live.settle()
    check = live.release(head)
    assert check.status is Status.REJECTED
    assert check.reason is not None and "conflicts with" in check.reason and "main.py" in check.reason
    with live.sessions.begin() as session:
        facts = session.scalars(select(OutboxSubject.facts).where(OutboxSubject.kind == "status")).one()
    assert (facts["state"], facts["description"]) == ("failure", check.reason)


@pytest.mark.parametrize("how", ["merge", "squash", "rebase"])
def test_what_was_checked_goes_live_untrained(live: Appliance, how: str) -> None:
    check = propose(live, 7, working.quick(smape=0.10))
    home = HomeLayout(live.settings.home)
    checked = home.artifact_path(check.isolation, check.id).stat()
    merged = merge(live, 7, how)
    assert merged.status is Status.DEPLOYED and merged.commit != check.commit
    assert (merged.artifact, merged.metrics, merged.trained_by) == (check.artifact, check.metrics, check.id)
    done = stages(live, merged)
    assert (done["train"], done["evaluate"], done["gate"]) == ("reused", "reused", "done")
    assert "model trained in check" in live.log(merged, "train")
    assert "training on" not in live.log(merged, "train")
    assert live.wanted() == merged.id
    assert samestat(home.artifact_path(merged.model, merged.id).stat(), checked)


def test_its_drift_baseline_is_taken_over(live: Appliance) -> None:
    check = propose(live, 7, typed_model())
    home = HomeLayout(live.settings.home)
    made = home.drift_baseline_path(check.isolation, check.id).stat()
    merged = merge(live, 7, "merge")
    assert check.drift_baseline is not None
    assert (merged.drift_baseline, merged.drift_source) == (check.drift_baseline, "training")
    assert samestat(home.drift_baseline_path(merged.model, merged.id).stat(), made)


def test_a_comparison_that_would_differ_is_made_again(live: Appliance) -> None:
    said = "predictions were compared with the live release's by the check"
    propose(live, 7, working.quick(smape=0.10))
    same = merge(live, 7, "merge")
    assert said in live.log(same, "gate")
    assert (same.differences or {})["compared_with"] == 1

    strict = {
        **working.quick(smape=0.10, value=21.0),
        "slipway.toml": "[gate]\npredictions = {may_differ = '100%'}\n",
    }
    go_live(live)
    propose(live, 8, strict)
    ruled = merge(live, 8, "merge")
    assert ruled.trained_by is not None
    assert said not in live.log(ruled, "gate")

    go_live(live)
    propose(live, 9, {**working.quick(smape=0.09), "slipway.toml": GATE})
    with live.sessions.begin() as session:
        deployments.create_decision(
            session, live.model, same.id, Cause.OPERATOR, who="dana", why=None, snapshot=None
        )
    go_live(live)
    other = merge(live, 9, "merge")
    assert said not in live.log(other, "gate")


def test_files_of_a_check_end_with_its_pull_request(live: Appliance) -> None:
    check = propose(live, 7, working.quick(smape=0.10))
    home = HomeLayout(live.settings.home)
    merged = merge(live, 7, "merge")
    go_live(live)
    wait_until(
        lambda: live.lookout.reconcile() or not home.artifact_path(check.isolation, check.id).exists(),
        30,
        "the files of the check are gone",
    )
    assert home.artifact_path(merged.model, merged.id).is_file()
    wait_until(
        lambda: live.lookout.reconcile() or "@7" not in (home.root / "users.json").read_text(),
        30,
        "the user of the check is forgotten",
    )


def test_caches_of_a_closed_check_go_where_no_name_has_a_user(tmp_path: Path) -> None:
    home = HomeLayout(tmp_path)
    for name in ("shop@7", "shop@8", "shop"):
        home.model_package_cache(name).mkdir(parents=True)
        (home.environment_path("e1").with_name(f"e1-{name}")).mkdir(parents=True)
    assert check_files.sweep_isolated(home, {"shop@8"})
    assert sorted(path.name for path in home.root.glob("*/*")) == [
        *("e1-shop", "e1-shop@8", "packages-shop", "packages-shop@8")
    ]


def test_a_base_that_moved_on_is_trained_again(live: Appliance) -> None:
    check = propose(live, 7, working.quick(smape=0.10))
    live.repository.write({"README.md": "moved on"}).commit("Meanwhile")
    merged = merge(live, 7, "merge")
    assert merged.trained_by is None and stages(live, merged)["train"] == "done"
    assert f"trained again: check {check.id} was of other files" in live.log(merged, "train")


def test_other_data_is_trained_again_and_says_why(make_appliance: Callable[..., Appliance]) -> None:
    appliance = make_appliance()
    files = {name: text for name, text in FIRST.items() if not name.startswith("data/")}
    folder = appliance.settings.data_folders(appliance.model).own
    folder.mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        (folder / name).write_text(FIRST[f"data/{name}"])
    appliance.merge(files)
    appliance.settle()
    go_live(appliance)
    check = propose(
        appliance, 7, {**files, **working.without_data(), "main.py": working.quick(0.10)["main.py"]}
    )
    assert check.status is Status.CHECKED
    (folder / "train.csv").write_text(
        FIRST["data/train.csv"] + FIRST["data/train.csv"].splitlines()[-1] + "\n"
    )
    merged = merge(appliance, 7, "squash")
    reason = f"trained again: the training data differs from check {check.id}'s"
    assert reason in appliance.log(merged, "train")


def test_another_lock_is_trained_again_and_says_why(
    make_appliance: Callable[..., Appliance], shelf: Shelf
) -> None:
    appliance = make_appliance(UV_INDEX=shelf.url("/simple/"))
    put_package(shelf, "ours", build_wheel("ours"))
    check = propose(appliance, 7, {**working.quick(smape=0.10), "requirements.txt": "pandas\nours\n"})
    assert check.status is Status.CHECKED
    put_package(shelf, "ours", build_wheel("ours", version="1.1"), version="1.1")
    merged = merge(appliance, 7, "merge")
    assert "ours==1.0" in locks.list_packages(check.lock or "")
    assert "ours==1.1" in locks.list_packages(merged.lock or "")
    reason = f"trained again: the environment and the packages differ from check {check.id}'s"
    assert reason in appliance.log(merged, "train")


def test_another_setting_is_trained_again_and_says_why(
    live: Appliance, make_appliance: Callable[..., Appliance]
) -> None:
    check = propose(live, 7, working.quick(smape=0.10))
    with live.sessions.begin() as session:
        recipe = {**(check.recipe or {}), "Slipway's version": "0.0", "the Python": "2.7"}
        session.get_one(Release, check.id).recipe = recipe
    merged = merge(live, 7, "merge")
    assert merged.trained_by is None
    reason = f"trained again: the Python and Slipway's version differ from check {check.id}'s"
    assert reason in live.log(merged, "train")


def test_what_was_built_for_a_check_is_not_reused(live: Appliance) -> None:
    built = {**working.quick(smape=0.10), **project(), "requirements.txt": "./ours\npandas\n"}
    check = propose(live, 7, built)
    assert check.status is Status.CHECKED
    merged = merge(live, 7, "merge")
    assert merged.status is Status.DEPLOYED
    assert merged.trained_by is None
    assert f"trained again: the environment differs from check {check.id}'s" in live.log(merged, "train")


def test_a_changed_artifact_of_a_check_is_trained_again(live: Appliance) -> None:
    check = propose(live, 7, working.quick(smape=0.10))
    HomeLayout(live.settings.home).artifact_path(check.isolation, check.id).write_bytes(b"somebody's pickle")
    merged = merge(live, 7, "merge")
    assert (merged.status, merged.trained_by) == (Status.DEPLOYED, None)
    assert "cannot be read" in live.log(merged, "train")


def test_a_fork_runs_only_at_the_approved_head(live: Appliance) -> None:
    head = live.repository.propose(8, working.quick(smape=0.10))
    show(live, 8, head, head_repository_id=2)
    live.settle()
    assert list_checks(live) == []

    approve(live, 8, head)
    newer = live.repository.propose(8, working.quick(smape=0.05))
    show(live, 8, newer, head_repository_id=2)
    live.settle()
    assert list_checks(live) == []

    show(live, 8, head, head_repository_id=2)
    live.settle()
    assert (live.release(head).status, live.release(head).is_fork) == (Status.CHECKED, True)


def test_a_pull_request_cannot_trust_itself(appliance: Appliance) -> None:
    trusts_itself = {**FIRST, "slipway.toml": "[checks]\ntrust_authors = [7]\ntrust_owners = [8]\n"}
    head = appliance.repository.propose(8, trusts_itself)
    show(appliance, 8, head, head_repository_id=2)
    appliance.settle()
    assert list_checks(appliance) == []

    approve(appliance, 8, head)
    appliance.settle()
    (check,) = list_checks(appliance)
    assert check.status is Status.REJECTED
    assert check.reason is not None
    assert "slipway.toml: checks: only the operator sets it, in models.toml: remove it" in check.reason


def test_a_merge_takes_the_place_of_a_running_check(live: Appliance) -> None:
    head = live.repository.propose(7, working.quick(smape=0.10, seconds=3600))
    show(live, 7, head)
    live.wait_for_stage("train")
    merged = live.merge(working.quick(smape=0.19))

    def settled() -> bool:
        live.lookout.reconcile()
        return live.release(merged).status is Status.DEPLOYED

    wait_until(settled, 60, "the merge is built before the check")
    check = live.release(head)
    assert (check.attempts, check.status.has_ended) == (1 if check.status is Status.BUILDING else 0, False)
    show(live, 7, head, state="closed")
    live.settle()
    assert live.release(head).status is Status.SUPERSEDED


def test_ten_pushes_leave_one_check(live: Appliance) -> None:
    for smape in range(10):
        head = live.repository.propose(7, working.quick(smape=0.10 - smape / 1000))
        show(live, 7, head)
        live.lookout.reconcile()
    live.settle()
    found = list_checks(live)
    assert [release.status for release in found if release.status is not Status.SUPERSEDED] == [
        Status.CHECKED
    ]
    assert found[0].commit == head


def test_checks_that_are_off_cost_nothing(make_appliance: Callable[..., Appliance]) -> None:
    appliance = make_appliance(SLIPWAY_CHECKS="off")
    show(appliance, 7, appliance.repository.propose(7, FIRST))
    appliance.settle()
    assert appliance.releases() == []
