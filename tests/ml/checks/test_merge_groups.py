"""Merge groups of GitHub's queue, with real git and builders: each commit in it has a status of its own."""

import subprocess
import sys
import time
from typing import Any

import pytest
from sqlalchemy import select, text

from db import checks, merge_groups
from db.models import Release
from db.states import Status, Trigger
from db.vcs_models import OutboxSubject
from ml.controller import merge_groups as merge_groups_child
from ml.controller import queue_polling
from ml.controller.merge_groups import check_queue
from ml.paths import HomeLayout
from ml.sources import git_merge_groups
from tests.harness.waiting import wait_until
from tests.ml.builder.test_release import go_live
from tests.ml.checks.support import FIRST, close, propose, show, stages
from tests.ml.conftest import Appliance
from tests.models import working


@pytest.fixture
def live(appliance: Appliance) -> Appliance:
    """One whose model has a live release."""
    appliance.merge(FIRST)
    appliance.settle()
    go_live(appliance)
    return appliance


@pytest.fixture
def followed(appliance: Appliance) -> Appliance:
    """One that follows a repository, of which nothing is built."""
    appliance.repository.write(FIRST).commit("First")
    return appliance


def offer(appliance: Appliance, number: int, **fields: Any) -> str:
    """Open a pull request with a file of its own, and let it be known; nothing is built of it."""
    head = appliance.repository.propose(number, {f"notes-{number}.md": f"of {number}\n"})
    show(appliance, number, head, **fields)
    return head


def look(appliance: Appliance) -> list[Release]:
    """Check the merge queue, as the controller's child does, and note its end; return what was queued."""
    appliance.lookout.garbage.is_due = True
    return check_queue(appliance.lookout.sessions, appliance.settings, appliance.settings.list_models()[0])


def status(appliance: Appliance, commit: str) -> tuple[str, str] | None:
    """Return what GitHub is to show of a commit."""
    with appliance.sessions.begin() as session:
        facts = session.scalars(select(OutboxSubject.facts).where(OutboxSubject.kind == "status")).all()
    found = {one["commit"]: (one["state"], one["description"]) for one in facts}
    return found.get(commit)


def groups(appliance: Appliance) -> dict[str, Release]:
    return {release.commit: release for release in appliance.releases() if release.ref is not None}


def tell(appliance: Appliance) -> None:
    """Report a change of the queue, as GitHub's webhook does."""
    with appliance.sessions.begin() as session:
        merge_groups.record_event(session, appliance.settings.list_models()[0].repository)


def test_a_group_of_checked_files_passes_at_once(live: Appliance) -> None:
    check = propose(live, 7, working.quick(smape=0.10))
    (commit,) = live.repository.queue([7])
    assert look(live) == []

    group = groups(live)[commit]
    assert (group.status, group.trigger, group.pull_request) == (Status.CHECKED, Trigger.CHECK, 7)
    assert (group.tree, group.metrics, group.trained_by) == (check.tree, check.metrics, check.id)
    assert stages(live, group) == {}
    assert status(live, commit) == (
        "success",
        "SMAPE 0.100, live 0.200, rows 2.000; 0 of 1 predictions change",
    )
    assert look(live) == []

    live.repository.git("merge", "--quiet", "--ff-only", commit)
    live.repository.git("branch", "-D", *live.repository.list_queue())
    look(live)
    close(live, 7, commit)
    live.settle()
    merged = next(release for release in live.releases() if release.trigger is Trigger.MERGE)
    assert (merged.commit, merged.status, merged.trained_by) == (commit, Status.DEPLOYED, check.id)


def test_a_waiting_group_takes_the_verdict_of_its_files(live: Appliance) -> None:
    head = live.repository.propose(7, working.quick(smape=0.10))
    show(live, 7, head)
    live.lookout.reconcile()
    wait_until(lambda: live.look() or live.release(head).status is Status.BUILDING, 60, "the check is built")
    (commit,) = live.repository.queue([7])
    assert [one.commit for one in look(live)] == [commit]
    live.settle()
    group = groups(live)[commit]
    assert (group.status, group.trained_by) == (Status.CHECKED, live.release(head).id)
    assert stages(live, group) == {}


def test_a_group_of_rejected_files_is_judged_again(followed: Appliance) -> None:
    """The live release, the data and the requests may be others by now, and a test may fail by chance."""
    head = offer(followed, 7)
    (commit,) = followed.repository.queue([7])
    tree = followed.repository.git("rev-parse", f"{commit}^{{tree}}")
    rejected = Release(model=followed.model, repository="acme/web-traffic", commit=head, tree=tree)
    rejected.trigger, rejected.status, rejected.pull_request = Trigger.CHECK, Status.REJECTED, 7
    with followed.sessions.begin() as session:
        session.add(rejected)
    (group,) = look(followed)
    assert (group.commit, group.status, group.trained_by) == (commit, Status.QUEUED, None)


def test_a_group_of_other_files_is_built_once(live: Appliance) -> None:
    propose(live, 7, working.quick(smape=0.10))
    propose(live, 8, {"notes.md": "more\n"})
    _, commit = live.repository.queue([7, 8])
    (queued,) = look(live)
    assert (queued.commit, queued.pull_request, queued.is_fork) == (commit, 8, False)
    assert queued.isolation == f"{live.model}@{commit}"
    assert status(live, commit) == ("pending", "it waits to be built")
    live.settle()

    group, home = groups(live)[commit], HomeLayout(live.settings.home)
    assert (group.status, group.metrics) == (Status.CHECKED, {"SMAPE": 0.1, "rows": 2})
    assert list(stages(live, group)) == ["checkout", "environment", "data", "train", "evaluate", "gate"]
    source = home.source_path(group.id)
    assert (source / "notes.md").read_text() == "more\n"
    assert "0.1" in (source / "main.py").read_text()
    said = status(live, commit)
    assert said is not None and said[0] == "success"
    with live.sessions.begin() as session:
        comments = session.scalars(select(OutboxSubject.facts).where(OutboxSubject.kind == "comment")).all()
    assert sorted((one["number"], one["head"]) for one in comments) == sorted(
        (release.pull_request, release.commit)
        for release in live.releases()
        if release.trigger is Trigger.CHECK and release.ref is None
    )

    live.repository.git("merge", "--quiet", "--ff-only", commit)
    live.repository.git("branch", "-D", *live.repository.list_queue())
    look(live)
    assert groups(live)[commit].pruned_at is None  # its change is not built yet
    close(live, 7, live.repository.git("rev-parse", f"{commit}^"))
    close(live, 8, commit)
    live.settle()
    merged = next(release for release in live.releases() if release.trigger is Trigger.MERGE)
    assert (merged.commit, merged.status, merged.trained_by) == (commit, Status.DEPLOYED, group.id)
    go_live(live)
    look(live)
    wait_until(
        lambda: live.lookout.reconcile() or not home.artifact_path(group.isolation, group.id).exists(),
        30,
        "the files of the group are gone",
    )
    wait_until(
        lambda: live.lookout.reconcile() or f"@{commit}" not in (home.root / "users.json").read_text(),
        30,
        "the user of the group is forgotten",
    )
    assert home.artifact_path(merged.model, merged.id).is_file()


def test_a_group_with_an_unapproved_fork_is_never_built(followed: Appliance) -> None:
    head = offer(followed, 6, head_repository_id=2)
    offer(followed, 7)
    fork, both = followed.repository.queue([6, 7])
    assert look(followed) == []
    waits = "#6 in it comes from another repository, and waits for an operator: slipway approve 6"
    assert (status(followed, fork), status(followed, both)) == (("error", waits), ("error", waits))
    assert groups(followed) == {}

    with followed.sessions.begin() as session:
        model = followed.settings.list_models()[0]
        pulls = checks.list_open(session, model.repository, model.branch)
        checks.approve(session, model.name, 6, head, pulls=pulls, who="dana")
    assert {(one.commit, one.is_fork) for one in look(followed)} == {(fork, True), (both, True)}


def test_what_an_approval_is_not_of_is_never_built(
    followed: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork's older head is queued while its newer one is approved; then it hides below another's group."""
    offer(followed, 6, head_repository_id=2)
    offer(followed, 7)
    old, both = followed.repository.queue([6, 7])
    head = offer(followed, 6, head_repository_id=2)
    newer = followed.repository.propose(6, {"notes-6.md": "harmless\n"})
    show(followed, 6, newer, head_repository_id=2)
    assert newer != head
    with followed.sessions.begin() as session:
        model = followed.settings.list_models()[0]
        pulls = checks.list_open(session, model.repository, model.branch)
        checks.approve(session, model.name, 6, newer, pulls=pulls, who="dana")
    assert look(followed) == []
    assert (status(followed, old), status(followed, both)) == (None, None)  # it may be known soon

    monkeypatch.setattr(git_merge_groups, "RECENT_SECONDS", 0.0)
    assert look(followed) == []
    assert status(followed, old) == status(followed, both) == ("error", merge_groups.UNPROVEN)
    followed.repository.git("branch", "-D", *followed.repository.list_queue("pr-6-*"))
    assert look(followed) == []
    assert groups(followed) == {}


def test_a_fork_that_no_sync_has_brought_is_never_built(
    followed: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pull request of a fork is queued at once, and its group is gone before the next one's."""
    followed.repository.propose(6, {"evil.py": "unapproved\n"})
    offer(followed, 7)
    _, both = followed.repository.queue([6, 7])
    followed.repository.git("branch", "-D", *followed.repository.list_queue("pr-6-*"))
    assert look(followed) == []
    assert (groups(followed), status(followed, both)) == ({}, None)

    show(followed, 6, followed.repository.git("rev-parse", "pull-request-6"), head_repository_id=2)
    with followed.sessions.begin() as session:  # GitHub's queue drops what goes into another branch
        session.execute(text("UPDATE vcs.pull_requests SET base_ref = 'other' WHERE number = 6"))
    monkeypatch.setattr(git_merge_groups, "RECENT_SECONDS", 0.0)
    assert look(followed) == []
    assert status(followed, both) == ("error", merge_groups.UNPROVEN)


def test_a_merge_that_git_makes_otherwise_is_not_built(
    followed: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_merge_groups, "RECENT_SECONDS", 0.0)
    offer(followed, 7)
    followed.repository.queue([7])
    (name,) = followed.repository.list_queue()
    followed.repository.git("checkout", "--quiet", name)
    commit = followed.repository.write({"resolved.txt": "by GitHub\n"}).commit("More")
    followed.repository.git("checkout", "--quiet", "main")
    assert look(followed) == []
    assert status(followed, commit) == ("error", merge_groups.UNPROVEN)


def test_a_group_that_vanishes_ends_and_frees_its_files(live: Appliance) -> None:
    offer(live, 7)
    offer(live, 8)
    done, running = live.repository.queue([7, 8])
    look(live)
    wait_until(
        lambda: live.lookout.reconcile() or groups(live)[done].status.has_ended, 90, "the first is checked"
    )
    wait_until(
        lambda: live.lookout.reconcile() or groups(live)[running].status is Status.BUILDING,
        60,
        "the second is built",
    )
    live.repository.git("branch", "-D", *live.repository.list_queue())
    look(live)
    ended, home = groups(live), HomeLayout(live.settings.home)
    assert (ended[running].status, ended[running].reason) == (Status.SUPERSEDED, merge_groups.GONE)
    assert status(live, running) == ("error", merge_groups.GONE)
    assert ended[done].pruned_at is not None
    files = [home.artifact_path(one.isolation, one.id) for one in ended.values()]
    live.settle()
    wait_until(
        lambda: live.lookout.reconcile() or not any(file.exists() for file in files), 30, "no files are left"
    )

    def are_forgotten() -> bool:
        live.lookout.reconcile()
        users = (home.root / "users.json").read_text()
        return not any(commit in users for commit in (done, running))

    wait_until(are_forgotten, 30, "the users of the groups are forgotten")


def test_ten_groups_are_queued_at_once_and_only_once(followed: Appliance) -> None:
    for number in range(1, 11):
        offer(followed, number)
    commits = followed.repository.queue(range(10, 0, -1))
    queued = look(followed)
    assert {one.commit for one in queued} == set(commits)
    assert len({one.isolation for one in queued}) == 10
    assert look(followed) == []
    assert all(status(followed, commit) == ("pending", "it waits to be built") for commit in commits)


def test_a_group_with_an_old_base_gives_way_to_the_next(followed: Appliance) -> None:
    offer(followed, 7)
    (old,) = followed.repository.queue([7])
    followed.repository.write({"urgent.md": "past the queue\n"}).commit("Urgent")
    assert look(followed) == []
    assert status(followed, old) == ("error", merge_groups.MOVED)
    followed.repository.git("branch", "-D", *followed.repository.list_queue())
    (new,) = followed.repository.queue([7])
    assert [one.commit for one in look(followed)] == [new]


def test_a_queue_branch_that_is_no_group_is_ignored(followed: Appliance) -> None:
    offer(followed, 7)
    for name in ("pr-7-short", f"pr-{'9' * 12}-{'a' * 40}", f"pr-999-{'a' * 40}"):
        followed.repository.git("branch", f"gh-readonly-queue/main/{name}", "pull-request-7")
    assert look(followed) == []
    assert not HomeLayout(followed.settings.home).merge_repository_path(followed.model).exists()


def test_the_controller_follows_a_webhook_and_a_queue_in_use(followed: Appliance) -> None:
    offer(followed, 7)
    followed.lookout.queue_listings[followed.model] = queue_polling.LastListing(time.monotonic(), None)
    (commit,) = followed.repository.queue([7])
    followed.lookout.reconcile()
    assert f"queue {followed.model}" not in followed.lookout.daemons
    tell(followed)
    wait_until(lambda: followed.lookout.reconcile() or commit in groups(followed), 60, "it is queued")
    followed.repository.git("branch", "-D", *followed.repository.list_queue())
    wait_until(
        lambda: followed.lookout.reconcile() or groups(followed)[commit].status.has_ended, 60, "it has ended"
    )


@pytest.mark.parametrize("on", ["tag", "push"])
def test_what_asks_git_already_lists_the_queue_as_well(
    followed: Appliance, on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    start = followed.lookout.daemons.start
    monkeypatch.setattr(
        followed.lookout.daemons, "start", lambda name, *more: (started.append(name), start(name, *more))
    )
    with followed.sessions.begin() as session:
        session.add(
            Release(
                model=followed.model,
                repository="acme/web-traffic",
                commit=followed.repository.head,
                status=Status.SUPERSEDED,
                release_on=on,
                position=1,
            )
        )
    offer(followed, 7)
    (commit,) = followed.repository.queue([7])
    tell(followed)
    wait_until(lambda: followed.lookout.reconcile() or commit in groups(followed), 60, "it is queued")
    assert {"tag": "tags web-traffic", "push": "pushes web-traffic"}[on] in started
    assert "queue web-traffic" not in started


def test_a_queue_is_listed_by_one_process_at_a_time(followed: Appliance) -> None:
    """The older of two lists would end the checks of groups that only the newer one has."""
    offer(followed, 7)
    tell(followed)
    (model,), daemons = followed.settings.list_models(), followed.lookout.daemons
    assert followed.lookout.find_due_queue(model) is not None
    daemons.start(f"queue {model.name}", "http.server", "--bind", "127.0.0.1", "0")
    assert followed.lookout.find_due_queue(model) is None
    daemons.stop()


@pytest.mark.parametrize("kind", ["merge_groups", "tags", "pushes"])
def test_a_former_leaders_process_is_waited_for(kind: str, followed: Appliance) -> None:
    offer(followed, 7)
    (commit,) = followed.repository.queue([7])
    command = [sys.executable, "-m", f"ml.controller.{kind}", followed.model, queue_polling.WITH_QUEUE]
    with merge_groups_child.lock_queue(followed.settings, followed.model) as is_locked:
        assert is_locked  # another process lists it
        subprocess.run(command, check=True)
        assert groups(followed) == {}
    subprocess.run(command, check=True)
    assert list(groups(followed)) == [commit]


def test_without_open_pull_requests_no_server_is_asked(followed: Appliance) -> None:
    for _ in range(3):
        followed.lookout.reconcile()
    assert followed.lookout.queue_listings == {}


@pytest.mark.parametrize(
    ("use", "seconds", "is_due"),
    [
        ((None, False, False, True), 299, False),
        ((None, False, False, True), 300, True),
        ((None, False, True, True), 60, True),
        ((None, False, True, True), 59, False),
        ((None, False, True, False), 999, False),
        ((None, True, True, False), 0, True),
    ],
)
def test_a_queue_is_listed_as_often_as_it_is_used(use: Any, seconds: float, is_due: bool) -> None:
    last = queue_polling.LastListing(1000.0, None)
    assert queue_polling.is_due(merge_groups.QueueUse(*use), last, 1000.0 + seconds) is is_due


def test_switched_off_checks_free_the_files_of_groups(followed: Appliance) -> None:
    offer(followed, 7)
    followed.repository.queue([7])
    (queued,) = look(followed)
    with followed.sessions.begin() as session:
        session.execute(
            text("UPDATE releases SET status = 'checked', artifact = 'a' WHERE id = :id"), {"id": queued.id}
        )
        merge_groups.end_gone(session, followed.model, merge_groups.NO_QUEUE)
    assert groups(followed)[queued.commit].pruned_at is not None
