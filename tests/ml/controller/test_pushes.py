"""A repository that is released on pushes: the newest commit of its branch, pull request or not."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from cli.up.postgres import Postgres
from db.states import Status, Trigger
from ml.controller import pushes
from ml.sources.git_history import PushHistory
from tests.harness.first_release import FirstRelease
from tests.harness.hostile_commits import HOSTILE, write_commit
from tests.harness.waiting import wait_until
from tests.ml.conftest import Appliance
from tests.models import working

ON_PUSH = {"slipway.toml": '[release]\non = "push"\n'}


@pytest.fixture(scope="module")
def first_release(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> FirstRelease:
    files = {**working.quick(smape=0.9), **ON_PUSH}
    return FirstRelease(postgres, tmp_path_factory.mktemp("first"), files)


@pytest.fixture
def pushed(appliance: Appliance, first_release: FirstRelease) -> Appliance:
    """One whose first merge says so, and is live."""
    first_release.begin(appliance)
    return appliance


def wait_for_looks(appliance: Appliance) -> None:
    """Wait for the end of those that looks have begun: a test's own comes first."""
    others = appliance.lookout.daemons
    wait_until(lambda: others.reap_ended() or not others.list_names(), 60, "no look for pushes is under way")


def wait_for(appliance: Appliance, commit: str) -> None:
    """Look until the commit has a release, and that has ended."""

    def has_release() -> bool:
        appliance.look()
        return any(release.commit == commit for release in appliance.releases())

    wait_until(has_release, 120, "the push is seen")
    appliance.settle()


def push(appliance: Appliance, smape: float, title: str = "Pushed") -> str:
    wait_for_looks(appliance)
    return appliance.repository.write(working.quick(smape=smape)).commit(title)


def queue(appliance: Appliance) -> int | None:
    """One look for pushes, in this process; the release that it queued."""
    model, folder = appliance.settings.list_models()[0], appliance.settings.home / "looking.pushes"
    with PushHistory(model, folder) as found:
        release = pushes.queue_newest(appliance.lookout.sessions, model, found)
    assert not folder.exists()
    return release.id if release else None


def test_a_push_without_a_pull_request_goes_live(pushed: Appliance) -> None:
    commit = push(pushed, 0.5, "Straight to main")
    wait_for(pushed, commit)

    release = pushed.release(commit)
    assert (release.status, release.trigger, release.pull_request) == (
        Status.DEPLOYED,
        Trigger.PUSH,
        None,
    )
    assert (release.title, release.author) == ("Straight to main", "Dana Scientist")
    assert queue(pushed) is None


def test_of_several_pushes_the_newest_is_built(pushed: Appliance) -> None:
    older = [push(pushed, smape) for smape in (0.8, 0.7)]
    waiting = queue(pushed)
    older.append(pushed.merge(working.quick(smape=0.6)))
    newest = push(pushed, 0.4)
    pushed.lookout.queue_merges(pushed.settings.list_models()[0])
    assert len(pushed.releases()) == 3
    assert waiting not in (None, queue(pushed))
    pushed.settle()

    assert {pushed.release(commit).status for commit in older} == {Status.SUPERSEDED}
    assert pushed.release(newest).status is Status.DEPLOYED
    assert len(pushed.releases()) == 5


def test_an_older_commit_is_never_gone_back_to(pushed: Appliance) -> None:
    base = pushed.repository.head
    unbuilt = push(pushed, 0.8)
    push(pushed, 0.7)
    newest = push(pushed, 0.6)
    assert queue(pushed)
    pushed.settle()
    for older in (base, unbuilt):
        pushed.repository.git("reset", "--quiet", "--hard", older)
        assert queue(pushed) is None
    assert pushed.release(newest).status is Status.DEPLOYED


def test_a_branch_whose_name_ends_like_a_reference_hides_no_push(pushed: Appliance) -> None:
    pushed.repository.git("branch", "a/refs/heads/main")
    push(pushed, smape=0.5)
    assert queue(pushed)


def test_a_commit_behind_the_known_one_is_not_new(pushed: Appliance) -> None:
    """As a mirror shows it that is behind."""
    behind = push(pushed, 0.8)
    ahead = pushed.merge(working.quick(smape=0.5))
    with PushHistory(pushed.settings.list_models()[0], pushed.settings.home / "looking.pushes") as found:
        pushed.repository.git("reset", "--quiet", "--hard", behind)
        assert found.find_tip() == behind
        assert found.find_new(ahead) == []


def test_a_rewritten_branch_is_built_at_its_new_end(pushed: Appliance) -> None:
    fork = pushed.repository.head
    gone = push(pushed, 0.8)
    assert queue(pushed)
    pushed.settle()
    pushed.repository.git("reset", "--quiet", "--hard", fork)
    between, newest = push(pushed, 0.7), push(pushed, 0.6)
    pushed.repository.git("reflog", "expire", "--expire=now", "--all")
    pushed.repository.git("update-ref", "-d", "ORIG_HEAD")
    pushed.repository.git("gc", "--quiet", "--prune=now")
    assert queue(pushed)
    pushed.settle()

    assert pushed.release(newest).status is Status.DEPLOYED
    assert gone not in (between, newest)


def test_what_commits_hold_stops_no_look(pushed: Appliance) -> None:
    written = [write_commit(pushed.repository, rest) for rest in HOSTILE.values()]
    newest = write_commit(pushed.repository, HOSTILE["NUL"], b"E\xff\0ve\x1b" + b"e" * 100_000)

    assert queue(pushed)
    assert {pushed.release(commit).status for commit in written} == {Status.SUPERSEDED}
    release = pushed.release(newest)
    assert release.title == "before"
    assert release.merged_at
    assert release.merged_at <= datetime.now(UTC)
    titles = dict(zip(HOSTILE, (pushed.release(commit).title or "" for commit in written), strict=True))
    assert titles["an encoding"] == "café"
    assert len(titles["megabytes"]) <= 200


def test_a_new_repository_is_released_on_its_first_push(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.controller.reconciler.NEW", 0.0)
    appliance.repository.write(working.quick()).commit("For pull requests")
    assert queue(appliance) is None

    commit = appliance.repository.write(ON_PUSH).commit("For pushes")
    appliance.lookout.started_at = time.monotonic() - 60
    wait_for(appliance, commit)
    assert appliance.release(commit).status is Status.DEPLOYED


def test_pushes_end_with_a_commit_that_says_so(pushed: Appliance) -> None:
    last = pushed.repository.write({"slipway.toml": None}).commit("By pull requests again")
    wait_for(pushed, last)
    assert pushed.release(last).status in (Status.DEPLOYED, Status.REJECTED, Status.PASSED)
    push(pushed, 0.5)
    pushed.lookout.reconcile()
    assert not any(name.startswith("pushes") for name in pushed.lookout.daemons.list_names())

    merged = pushed.merge(working.quick(smape=0.3))
    pushed.settle()
    assert pushed.release(merged).trigger is Trigger.MERGE


def test_elsewhere_than_on_github_nothing_else_is_asked(make_appliance: Callable[..., Appliance]) -> None:
    appliance = make_appliance(SLIPWAY_REPOSITORY="https://git.example.com/team/churn")
    commit = appliance.merge({**working.quick(), **ON_PUSH})
    appliance.settle()
    appliance.lookout.reconcile()

    release = appliance.release(commit)
    assert (release.status, release.trigger, release.title) == (Status.DEPLOYED, Trigger.PUSH, "Change 1")
    assert appliance.lookout.daemons.list_names() == []
