"""A repository that is not on GitHub: what is pushed to its branch is what pull requests are elsewhere."""

import os
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy.orm import Session, sessionmaker

from common import git_login
from db import appliance, pull_requests
from db.vcs_models import PullRequest
from resources.demo.github import FakeGitHub, GitHubFault
from tests.harness.hostile_commits import HOSTILE, write_commit, write_references
from tests.harness.repositories import ModelRepository
from tests.harness.waiting import wait_until
from tests.vcs.conftest import SettingsOf, listening
from vcs.errors import SyncError
from vcs.settings import VcsSettings
from vcs.singer import Singer
from vcs.sync import PullRequestSync, SyncReport
from vcs.sync_thread import SyncThread

NAME = "local/churn"
Restarted = Callable[..., PullRequestSync]


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "churn")


@pytest.fixture
def git_settings(settings_of: SettingsOf, repository: ModelRepository, tmp_path: Path) -> SettingsOf:
    """As of an appliance that follows `repository` by its address."""
    return lambda **more: settings_of(**{"repository": repository.url, "home": tmp_path / "home"} | more)


@pytest.fixture
def make_sync(git_settings: SettingsOf, own_sessions: sessionmaker[Session]) -> Restarted:
    """One sync at a time, from the test's own thread; each is an appliance that was started again."""

    def make(**more: object) -> PullRequestSync:
        settings = git_settings(**more)
        return PullRequestSync(settings, own_sessions, Singer(settings))

    return make


@pytest.fixture
def sync(make_sync: Restarted) -> PullRequestSync:
    return make_sync()


@pytest.fixture
def accepted(sessions: sessionmaker[Session]) -> Callable[..., list[pull_requests.Accepted]]:
    """What is accepted, newest first."""

    def read(name: str = NAME, branch: str = "main") -> list[pull_requests.Accepted]:
        with sessions() as session:
            return pull_requests.list_accepted(session, name, branch, limit=500)

    return read


def commits(found: list[pull_requests.Accepted]) -> list[str]:
    return [each.commit for each in found]


def first_parents(repository: ModelRepository, revision: str = "main") -> list[str]:
    return repository.git("rev-list", "--first-parent", revision).split()


def test_each_push_is_an_accepted_change(
    sync: PullRequestSync, repository: ModelRepository, accepted: Callable[..., list[pull_requests.Accepted]]
) -> None:
    repository.commit("Use the weekday")
    repository.merge_pull_request(7, {"a.txt": "a"})

    found = sync.run()

    assert (found.repository, found.rows, found.newly_accepted) == (NAME, 3, 3)
    assert commits(accepted()) == first_parents(repository)
    newest = accepted()[0]
    assert found.newest_merge == newest
    assert (newest.number, newest.title, newest.author) == (3, "Merge pull request #7", "Dana Scientist")

    pushed = repository.commit("Once more")
    assert (again := sync.run()).newest_merge
    assert (again.rows, again.newly_accepted, again.newest_merge.commit) == (1, 1, pushed)
    assert again.newest_merge.number == 4


def test_with_nothing_new_singer_does_not_run(
    sync: PullRequestSync, make_sync: Restarted, repository: ModelRepository, tmp_path: Path
) -> None:
    first = sync.run()
    without_singer = make_sync(singer=tmp_path / "nowhere")

    assert without_singer.run() == SyncReport(NAME, 0, 0, first.newest_merge, pytest.approx(0, abs=1e9))
    repository.commit("New")
    with pytest.raises(SyncError, match="Singer is not installed"):
        without_singer.run()


def test_no_file_of_the_repository_is_brought(
    sync: PullRequestSync, repository: ModelRepository, git_settings: SettingsOf
) -> None:
    repository.write({"large.bin": "x" * 100}).commit("Data")
    sync.run()

    clone = git_settings().clone_path(NAME)
    types = git(clone, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)")
    assert set(types.split()) == {"commit"}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "--git-dir", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_an_empty_repository_waits_for_its_first_push(
    make_sync: Restarted, repository: ModelRepository, tmp_path: Path
) -> None:
    bare = tmp_path / "bare" / "churn.git"
    repository.git("init", "--quiet", "--bare", "--initial-branch=trunk", str(bare))
    sync = make_sync(repository=str(bare))
    assert sync.run().newest_merge is None

    repository.git("push", "--quiet", str(bare), "main")
    assert sync.run().newly_accepted == 1


def test_a_branch_that_is_not_there_is_named(make_sync: Restarted, repository: ModelRepository) -> None:
    repository.git("branch", "--move", "main", "master")

    with pytest.raises(SyncError, match=r"no branch main; it has master\).* Set SLIPWAY_BRANCH"):
        make_sync().run()
    assert make_sync(branch="master").run().newly_accepted == 1


def test_more_branches_than_can_be_read_are_told(make_sync: Restarted, repository: ModelRepository) -> None:
    write_references(repository, "heads", 160_000)
    assert make_sync().run().newly_accepted == 1

    with pytest.raises(SyncError, match=r"lists too many branches .* set SLIPWAY_BRANCH") as caught:
        make_sync(branch="gone").run()
    assert caught.value.kind == "git-too-many-branches"


def test_a_repository_that_cannot_be_read_is_told(make_sync: Restarted, tmp_path: Path) -> None:
    with pytest.raises(SyncError, match="does not appear to be a git repository") as caught:
        make_sync(repository=str(tmp_path / "nothing")).run()
    assert caught.value.kind == "git-unreachable"
    with pytest.raises(SyncError, match="cannot be read") as caught:
        make_sync(repository="http://ada:s3cret@127.0.0.1:9/team/churn.git").run()
    assert "s3cret" not in str(caught.value)


def test_a_message_that_takes_git_memory_stops_that_sync_alone(
    make_sync: Restarted, repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(git_login.GIT_CONFIG_VARIABLES, "SLIPWAY_GIT_KIB", str(128 << 10))
    first = repository.head
    write_commit(repository, b"committer a <a> 1700000000 +0000\n\n" + b"long " * (40 << 20))

    with pytest.raises(SyncError, match=r"more than 1\.5 GiB of memory") as caught:
        make_sync().run()
    assert caught.value.kind == "git-too-large"
    repository.git("update-ref", "refs/heads/main", first)
    assert make_sync().run().newly_accepted == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_repository_on_disk_may_be_anybodys(sync: PullRequestSync, repository: ModelRepository) -> None:
    subprocess.run(["chown", "-R", "12345:12345", repository.path], check=True)

    assert sync.run().newly_accepted == 1


def test_a_repository_that_cannot_be_read_stands_in_the_status(
    git_settings: SettingsOf, own_sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    with own_sessions.begin() as session:
        appliance.set_mode(session, "repository")
    settings = git_settings(repository=(tmp_path / "chrun.git").as_uri(), sync_seconds=60)
    with listening(settings, own_sessions) as client:
        wait_until(lambda: client.get("/health").json()["last_sync"] != "none yet", 30, "a sync has ended")
        health = client.get("/health").json()
        with own_sessions() as session:
            remembered = appliance.find_problem(session, "github")

    for told in (health["last_sync"], remembered):
        assert "chrun.git" in str(told)
        assert "See that SLIPWAY_REPOSITORY has the right address" in str(told)


def test_a_branch_that_was_rewritten_goes_on_from_where_it_forks(
    sync: PullRequestSync, repository: ModelRepository, accepted: Callable[..., list[pull_requests.Accepted]]
) -> None:
    for name in "abc":
        repository.commit(name)
    sync.run()
    gone = first_parents(repository)[:2]
    repository.git("reset", "--quiet", "--hard", "HEAD~2")
    old = {"GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z"}
    for name in "xy":
        commit_as(repository, name, **old)

    assert sync.run().rows == 2
    assert commits(accepted()) == [*first_parents(repository)[:2], *gone, *first_parents(repository)[2:]]
    assert [each.title for each in accepted()][:3] == ["y", "x", "c"]

    newest = commit_as(repository, "z", **old)
    found = sync.run().newest_merge
    assert found and found.commit == newest


def test_a_page_follows_the_other_whatever_was_rewritten(
    git_settings: SettingsOf,
    own_sessions: sessionmaker[Session],
    repository: ModelRepository,
    accepted: Callable[..., list[pull_requests.Accepted]],
    tmp_path: Path,
) -> None:
    models = tmp_path / "two.toml"
    one = f'[one]\nrepository = "{repository.url}"\n'
    models.write_text(f'{one}[two]\nrepository = "{repository.url}"\nbranch = "beta"\n')
    with listening(git_settings(repository="", models_file=models), own_sessions) as client:
        for fork in ("HEAD", "HEAD~2"):
            repository.git("reset", "--quiet", "--hard", fork)
            for name in "abc":
                repository.commit(f"{name} {fork}")
            repository.git("branch", "--force", "beta")
            client.post("/checkout").raise_for_status()
        found, address = [], "/pull-requests?limit=2"
        while address and len(found) < 20:
            page = client.get(address).json()
            found += [pull["commit"] for pull in page["pull_requests"]]
            address = page["next"]

    assert found == commits(accepted())
    assert len(found) == 7


def test_a_branch_that_was_put_back_is_at_its_older_commit(
    sync: PullRequestSync, repository: ModelRepository
) -> None:
    older = repository.commit("a")
    newer = repository.commit("b")
    sync.run()
    repository.git("reset", "--quiet", "--hard", older)
    assert (found := sync.run().newest_merge)
    assert found.commit == older
    repository.git("reset", "--quiet", "--hard", newer)
    assert (found := sync.run().newest_merge)
    assert found.commit == newer


def test_a_clone_that_is_lost_is_made_again(
    sync: PullRequestSync, repository: ModelRepository, git_settings: SettingsOf
) -> None:
    sync.run()
    clone = git_settings().clone_path(NAME)
    subprocess.run(["rm", "-r", str(clone)], check=True)
    repository.commit("a")
    assert sync.run().rows == 1

    for pack in (clone / "objects/pack").iterdir():
        pack.chmod(0o600)
        pack.write_bytes(b"torn")
    (clone / "config.lock").touch()
    newest = repository.commit("b")
    assert (found := sync.run().newest_merge)
    assert found.commit == newest


def test_a_clone_that_a_power_cut_has_torn_is_made_again(
    sync: PullRequestSync, repository: ModelRepository, git_settings: SettingsOf
) -> None:
    sync.run()
    clone = git_settings().clone_path(NAME)
    (tip,) = (clone / "refs/tips").iterdir()
    for torn in (tip, clone / "HEAD", clone / "config"):
        torn.write_bytes(b"\0" * 40)
        newest = repository.commit(torn.name)
        assert (found := sync.run().newest_merge)
        assert found.commit == newest


def test_a_rewritten_branch_without_a_clone_brings_its_tip(
    sync: PullRequestSync,
    repository: ModelRepository,
    git_settings: SettingsOf,
    accepted: Callable[..., list[pull_requests.Accepted]],
) -> None:
    repository.commit("a")
    sync.run()
    subprocess.run(["rm", "-r", str(git_settings().clone_path(NAME))], check=True)
    repository.git("checkout", "--quiet", "--orphan", "other")
    repository.commit("x")
    newest = repository.commit("y")
    repository.git("branch", "--force", "main", newest)

    assert sync.run().rows == 1
    assert accepted()[0].commit == newest


def test_a_long_history_is_brought_in_part(
    sync: PullRequestSync, repository: ModelRepository, accepted: Callable[..., list[pull_requests.Accepted]]
) -> None:
    many(repository, 100_000)
    assert sync.run().rows == 200
    assert [each.number for each in accepted()] == list(range(100_001, 99_801, -1))

    many(repository, 1000)
    assert sync.run().rows == 200
    assert commits(accepted())[:200] == first_parents(repository)[:200]


def many(repository: ModelRepository, count: int) -> None:
    """Commits on top of the branch, all of one second."""
    commit = "commit refs/heads/main\ncommitter a <a> 1700000000 +0000\ndata 1\nx"
    lines = f"{commit}from refs/heads/main^0\n" + f"{commit}\n" * (count - 1)
    command = ["git", "-C", str(repository.path), "fast-import", "--quiet"]
    subprocess.run(command, input=lines.encode(), check=True)


def commit_as(repository: ModelRepository, message: str, **more: str) -> str:
    """Commit with other variables than usual."""
    names = {f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "commit", "--quiet", "--allow-empty", f"--message={message}"]
    environment = {"PATH": os.environ["PATH"], **names, **more}
    subprocess.run(command, cwd=repository.path, env=environment, check=True)
    return repository.head


def test_what_commits_hold_stops_nothing(
    sync: PullRequestSync, repository: ModelRepository, accepted: Callable[..., list[pull_requests.Accepted]]
) -> None:
    sync.run()
    written = [write_commit(repository, rest) for rest in HOSTILE.values()]
    written.append(write_commit(repository, HOSTILE["nothing"], b"E\xff\0ve\x1b" + b"e" * 100_000))

    assert sync.run().rows == len(written)
    found = accepted()[: len(written)]
    assert commits(found) == written[::-1]
    assert max(each.merged_at for each in found) <= datetime.now(UTC)
    titles = dict(zip(HOSTILE, (each.title or "" for each in found[::-1]), strict=False))
    assert titles["an encoding"] == "café"
    assert titles["NUL"] == "before"
    assert titles["a terminal's"] == "[2J gone"
    assert len(titles["megabytes"]) == 256
    assert all(len(each.author or "") <= 256 for each in found)

    newest = repository.commit("As usual")
    assert (after := sync.run().newest_merge)
    assert after.commit == newest


def test_two_branches_of_a_repository_keep_apart(
    git_settings: SettingsOf,
    own_sessions: sessionmaker[Session],
    repository: ModelRepository,
    tmp_path: Path,
    accepted: Callable[..., list[pull_requests.Accepted]],
) -> None:
    repository.git("branch", "beta")
    models = tmp_path / "two.toml"
    models.write_text(
        f'[one]\nrepository = "{repository.path}"\n[two]\nrepository = "{repository.url}"\nbranch = "beta"\n'
    )
    settings = git_settings(repository="", models_file=models)
    sync = PullRequestSync(settings, own_sessions, Singer(settings))
    assert sync.run().newly_accepted == 2

    repository.commit("On main")
    assert sync.run().newly_accepted == 1
    assert [len(accepted(branch=branch)) for branch in ("main", "beta")] == [2, 1]


def test_a_missing_branch_is_told_and_the_other_goes_on(
    *,
    git_settings: SettingsOf,
    own_sessions: sessionmaker[Session],
    repository: ModelRepository,
    tmp_path: Path,
    lines: list[str],
) -> None:
    models = tmp_path / "two.toml"
    models.write_text(
        f'[one]\nrepository = "{repository.path}"\n'
        f'[two]\nrepository = "{repository.path}"\nbranch = "nightly"\n'
    )
    with own_sessions.begin() as session:
        appliance.set_mode(session, "repository")
    with listening(git_settings(repository="", models_file=models), own_sessions) as client:
        client.post("/checkout")
        pushed = repository.commit("Pushed")
        answer = client.post("/checkout")
        page = client.get("/pull-requests").json()
        health = client.get("/health").json()
        with own_sessions() as session:
            remembered = appliance.find_problem(session, "github")
        repository.git("branch", "nightly")
        mended = client.post("/checkout")

    assert answer.status_code == 502
    assert "No branch nightly. Set SLIPWAY_BRANCH, or `branch` in models.toml" in answer.json()["detail"]
    assert page["pull_requests"][0]["commit"] == pushed
    for told in (page["trouble"], health["last_sync"], remembered):
        assert "no such branch (no branch nightly)" in str(told)
    assert any("no branch nightly" in line for line in lines)
    assert mended.status_code == 200


def test_a_branch_whose_name_ends_like_a_reference_is_another(
    make_sync: Restarted, repository: ModelRepository
) -> None:
    repository.git("branch", "--move", "main", "a/refs/heads/main")

    with pytest.raises(SyncError, match="no branch main; it has a/refs/heads/main"):
        make_sync().run()


def test_a_limit_of_github_is_no_limit_elsewhere(
    *,
    git_settings: SettingsOf,
    own_sessions: sessionmaker[Session],
    repository: ModelRepository,
    github: FakeGitHub,
    tmp_path: Path,
    accepted: Callable[..., list[pull_requests.Accepted]],
) -> None:
    models = tmp_path / "two.toml"
    models.write_text(
        '[lost]\nrepository = "acme/lost"\n[widgets]\nrepository = "acme/widgets"\n'
        f'[churn]\nrepository = "{repository.path}"\n'
    )
    settings = git_settings(repository="", models_file=models)
    sync = PullRequestSync(settings, own_sessions, Singer(settings))
    github.faults.arm(GitHubFault("secondary-rate-limit", wait=600))
    with pytest.raises(SyncError) as caught:  # of the two of GitHub's, one is not there
        sync.run()
    assert caught.value.wait == 600
    assert len(accepted()) == 1

    syncer = SyncThread(sync, tick=1)
    syncer.start()
    try:
        wait_until(lambda: syncer.last_outcome is not None, 30, "GitHub asks for a pause again")
        asked = len(github.log)
        repository.commit("Pushed in the pause")
        wait_until(lambda: len(accepted()) == 2, 30, "the push is brought")
        assert len(github.log) == asked
        assert syncer.last_outcome is sync.current_failure
    finally:
        syncer.stop()
        syncer.join(10)


@pytest.mark.parametrize(
    "fault", [GitHubFault("none", remaining=499), GitHubFault("secondary-rate-limit", wait=600)]
)
def test_a_refusal_by_github_keeps_no_checkout_from_others(
    *,
    git_settings: SettingsOf,
    own_sessions: sessionmaker[Session],
    repository: ModelRepository,
    github: FakeGitHub,
    tmp_path: Path,
    fault: GitHubFault,
) -> None:
    models = tmp_path / "two.toml"
    models.write_text(f'[widgets]\nrepository = "acme/widgets"\n[churn]\nrepository = "{repository.path}"\n')
    github.faults.arm(fault)
    with listening(git_settings(repository="", models_file=models), own_sessions) as client:
        client.post("/checkout")
        asked = len(github.log)
        pushed = repository.commit("Pushed meanwhile")
        found = client.post("/checkout")

    assert (found.status_code, found.json()["repository"]) == (200, NAME)
    assert found.json()["newest_merge"]["commit"] == pushed
    assert len(github.log) == asked


def test_a_checkout_syncs_it_too(
    git_settings: SettingsOf, own_sessions: sessionmaker[Session], repository: ModelRepository
) -> None:
    pushed = repository.commit("First model")
    settings: VcsSettings = git_settings()
    with listening(settings, own_sessions) as client:
        found = client.post("/checkout").json()
        page = client.get("/pull-requests", headers={"Accept": "text/html"})

    assert found["newest_merge"]["commit"] == pushed
    assert "First model" in page.text
    assert "GitHub" not in page.text
    assert httpx.codes.is_success(page.status_code)


def test_a_webhook_is_githubs_alone(git_settings: SettingsOf, own_sessions: sessionmaker[Session]) -> None:
    with listening(git_settings(), own_sessions) as client:
        answer = client.post("/webhook", json={"object_kind": "push"})

    assert answer.status_code == 404
    assert "have a hook of its server call POST /checkout" in answer.json()["detail"]


def test_a_server_that_says_nothing_is_let_go_of_at_the_end(make_sync: Restarted) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as threads:
        sync = make_sync(repository=f"http://127.0.0.1:{server.getsockname()[1]}/team/churn.git")
        running = threads.submit(sync.run)
        server.accept()
        sync.singer.close()
        with pytest.raises(SyncError, match="Slipway is stopping"):
            running.result(30)
    git_servers = [child for child in psutil.Process().children(recursive=True) if "git" in child.name()]
    assert git_servers == []


def test_records_have_no_address_of_github(
    sync: PullRequestSync, repository: ModelRepository, sessions: sessionmaker[Session]
) -> None:
    pushed = repository.commit("First model")
    sync.run()
    with sessions() as session:
        row = session.query(PullRequest).filter_by(merge_commit_sha=pushed).one()
    assert (row.state, row.html_url, row.head_sha, row.base_ref) == ("closed", None, pushed, "main")
