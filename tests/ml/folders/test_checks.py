"""Checks in a repository of several models: GitHub is told what a pull request does not touch."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from db import appliance as appliance_state
from db.models import Release
from db.states import Status, Trigger
from db.vcs_models import OutboxSubject
from ml.controller.merge_groups import check_queue
from tests.ml.checks.support import close, list_checks, show, stages
from tests.ml.folders.support import TRAFFIC, Monorepo, below
from tests.models import working

OTHER = TRAFFIC.replace("traffic", "churn")
BOTH = {
    **below("models/traffic", working.quick(smape=0.3)),
    **below("models/churn", working.quick(smape=0.3)),
}
NOT_TOUCHED = "not touched by this {}: nothing changes in models/churn"


@pytest.fixture
def two(make_monorepo: Callable[[str], Monorepo]) -> Monorepo:
    made = make_monorepo(OTHER + TRAFFIC)
    with made.appliance.sessions.begin() as session:
        appliance_state.set_mode(session, "repository")
        appliance_state.set_app(session, is_set=True)
    made.appliance.repository.write(BOTH).commit("First")
    return made


def subjects(monorepo: Monorepo, kind: str, model: str) -> list[dict[str, Any]]:
    """Return what GitHub is to show of a kind and a model, oldest first."""
    with monorepo.appliance.sessions.begin() as session:
        found = select(OutboxSubject.facts).where(OutboxSubject.kind == kind).order_by(OutboxSubject.id)
        return [facts for facts in session.scalars(found) if facts["model"] == model]


def check(monorepo: Monorepo, number: int, files: dict[str, str]) -> dict[str, Release]:
    head = monorepo.appliance.repository.propose(number, files)
    show(monorepo.appliance, number, head)
    monorepo.appliance.settle()
    return monorepo.of_commit(head)


def test_a_check_tells_what_is_not_touched(two: Monorepo) -> None:
    found = check(two, 7, below("models/traffic", working.quick(smape=0.2)))
    assert found["traffic"].status is Status.CHECKED
    assert (found["churn"].status, found["churn"].reason) == (
        Status.UNTOUCHED,
        NOT_TOUCHED.format("pull request"),
    )
    assert list(stages(two.appliance, found["churn"])) == ["checkout"]
    (status,) = subjects(two, "status", "churn")
    assert (status["state"], status["description"]) == ("success", NOT_TOUCHED.format("pull request"))
    (run,) = subjects(two, "check_run", "churn")
    assert run["state"] == "skipped"
    assert [len(subjects(two, "comment", model)) for model in ("churn", "traffic")] == [0, 1]


def test_a_comment_of_an_earlier_head_is_corrected(two: Monorepo) -> None:
    check(two, 7, below("models/churn", working.quick(smape=0.2)))
    (comment,) = subjects(two, "comment", "churn")
    assert "SMAPE 0.200" in comment["summary"]
    check(two, 7, {"README.md": "More"})
    (comment,) = subjects(two, "comment", "churn")
    assert (comment["summary"], comment["metrics"]) == (NOT_TOUCHED.format("pull request"), [])


def test_a_merge_group_that_touches_nothing_passes(two: Monorepo) -> None:
    appliance = two.appliance
    show(appliance, 7, appliance.repository.propose(7, {"README.md": "More"}))
    appliance.settle()
    appliance.repository.git("commit", "--quiet", "--allow-empty", "--message=Meanwhile")
    (commit,) = appliance.repository.queue([7])
    churn = next(model for model in appliance.settings.list_models() if model.name == "churn")
    check_queue(appliance.lookout.sessions, appliance.settings, churn)
    appliance.settle()

    group = two.of_commit(commit)["churn"]
    assert (group.status, group.reason) == (Status.UNTOUCHED, NOT_TOUCHED.format("merge group"))
    statuses = {one["commit"]: one["state"] for one in subjects(two, "status", "churn")}
    assert statuses[commit] == "success"


def test_the_same_files_go_live_untrained(two: Monorepo) -> None:
    """Another model was merged meanwhile: the tree is another, and the model's files are the same."""
    appliance = two.appliance
    checked = check(two, 7, below("models/traffic", working.quick(smape=0.2)))["traffic"]
    appliance.repository.write(below("models/churn", working.quick(smape=0.1))).commit("Meanwhile")
    appliance.repository.git("merge", "--quiet", "--no-ff", "--message=Merge", "pull-request-7")
    close(appliance, 7, appliance.repository.head)
    appliance.settle()

    merged = two.of_commit(appliance.repository.head)["traffic"]
    assert (merged.status, merged.trained_by) == (Status.DEPLOYED, checked.id)
    assert merged.files == checked.files
    assert merged.tree != checked.tree
    assert all(one.trigger is Trigger.CHECK for one in list_checks(appliance))


def test_a_check_run_names_the_path_in_the_repository(two: Monorepo) -> None:
    files = working.quick()
    line = "print('training on'"
    broken = files["main.py"].replace(line, f"raise ValueError('no rows')\n        {line}")
    found = check(two, 7, below("models/traffic", {**files, "main.py": broken}))["traffic"]
    assert found.status is Status.REJECTED
    (run,) = subjects(two, "check_run", "traffic")
    (place,) = run["annotations"]
    assert (place["path"], place["message"]) == ("models/traffic/main.py", "ValueError: no rows")
