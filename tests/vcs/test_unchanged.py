"""A repository with nothing new costs one conditional request; no tap is started for it."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from resources.demo.github import FakeGitHub, FakePullRequests, GitHubFault, create_server
from resources.demo.github.pulls import generate_pulls
from tests.harness.waiting import wait_until
from tests.vcs.conftest import REPOSITORY, TOKEN, SettingsOf, listening
from tests.vcs.test_webhook import deliver
from vcs.bookmark import Quota
from vcs.errors import SyncError
from vcs.settings import VcsSettings
from vcs.singer import Singer
from vcs.sync import PullRequestSync, SyncReport
from vcs.sync_thread import SyncThread

NAMES = [f"acme/model-{number}" for number in range(3)]
FORTY = [f"acme/model-{number}" for number in range(40)]

Counted = Callable[[], list[str]]


@pytest.fixture
def taps(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """The repositories for which a tap was started, since the last call."""
    started: list[str] = []
    sync = Singer.sync_repository

    def counted(singer: Singer, repository: str, *others: object) -> object:
        started.append(repository)
        return sync(singer, repository, *others)  # type: ignore[arg-type]

    def taken() -> list[str]:
        found = started.copy()
        started.clear()
        return found

    monkeypatch.setattr(Singer, "sync_repository", counted)
    return taken


@pytest.fixture
def names() -> list[str]:
    return NAMES


@pytest.fixture
def many(names: list[str]) -> Iterator[FakeGitHub]:
    collections = [FakePullRequests(name) for name in names]
    for pulls in collections:
        pulls.merge(pulls.open("First", head="a"))
    with create_server(*collections, token=TOKEN) as running:
        yield running


@pytest.fixture
def following(settings_of: SettingsOf, many: FakeGitHub, names: list[str], tmp_path: Path) -> VcsSettings:
    models = tmp_path / "models.toml"
    models.write_text("".join(f'[m{at}]\nrepository = "{name}"\n' for at, name in enumerate(names)))
    return settings_of(repository="", models_file=models, github_api_url=many.url)


@pytest.mark.parametrize("names", [NAMES, pytest.param(FORTY, marks=pytest.mark.soak)], ids=len)
def test_many_repositories_with_nothing_new(
    names: list[str],
    following: VcsSettings,
    sessions: sessionmaker[Session],
    many: FakeGitHub,
    taps: Counted,
) -> None:
    with listening(following, sessions) as client:
        client.timeout = httpx.Timeout(600)
        assert client.post("/checkout").json()["newly_accepted"] == len(names)
        assert sorted(taps()) == sorted(names)
        many.reset()
        before = written(sessions)

        again = client.post("/checkout").json()

        assert (again["rows"], again["newly_accepted"]) == (0, 0)
        assert taps() == []
        assert written(sessions) == before
        assert (len(many.log), many.used_calls) == (len(names), 0)

        many.pulls[names[1]].merge(many.pulls[names[1]].open("Second", head="b"))
        many.pulls[names[2]].merge(many.pulls[names[2]].open("Untold", head="b"))
        many.reset()
        tell(client, names[1])

        wait_until(lambda: len(merges(client, names[1])) == 2, 20, "the merge comes")
        assert taps() == [names[1]]
        assert {line.split("?")[0] for line in many.log} == {f"GET /repos/{names[1]}/pulls"}

        assert client.post("/checkout").json()["newly_accepted"] == 1
        assert taps() == [names[2]]


def test_the_question_is_the_taps_own_first_page(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    pulls.open("First", head="a")
    sync.run()
    sync.run()

    assert len(github.log) == 2
    assert len(set(github.log)) == 1


@pytest.mark.parametrize("kind", ["server-error", "dropped", "html", "forbidden"])
def test_a_question_that_fails_is_left_to_the_tap(
    kind: Any, sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests, taps: Counted
) -> None:
    pulls.open("First", head="a")
    sync.run()
    github.faults.arm(GitHubFault(kind, times=1))
    pulls.merge(1)

    assert sync.run().newly_accepted == 1
    assert taps() == [REPOSITORY] * 2


def test_others_are_not_asked_for_within_a_limit(
    following: VcsSettings,
    own_sessions: sessionmaker[Session],
    many: FakeGitHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vcs.probe.MAX_CONCURRENT_REQUESTS", 1)
    sync = PullRequestSync(following, own_sessions, Singer(following))
    sync.run()
    many.reset()
    many.faults.arm(GitHubFault("secondary-rate-limit", wait=600))

    with pytest.raises(SyncError, match="asks for a pause"):
        sync.run()
    assert len(many.log) == 2  # a question, and a tap


def test_what_a_failed_sync_brought_is_asked_for_again(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests, taps: Counted
) -> None:
    generate_pulls(pulls, 150)
    github.faults.arm(GitHubFault("forbidden", after=1))
    with pytest.raises(SyncError):
        sync.run()
    github.faults.arm(None)

    assert sync.run().newly_accepted == 105
    assert taps() == [REPOSITORY] * 2


def test_another_token_asks_for_the_whole_page(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests, settings_of: SettingsOf, taps: Counted
) -> None:
    """GitHub's ETags are made for each token: what one may see another may not."""
    pulls.open("First", head="a")
    sync.run()
    github.token = "another"
    settings = settings_of(github_token="another")

    assert PullRequestSync(settings, sync.sessions, Singer(settings)).run().rows == 0
    assert len(taps()) == 2


def test_one_that_fails_is_told_until_its_own_sync_ends_well(
    following: VcsSettings, own_sessions: sessionmaker[Session], many: FakeGitHub
) -> None:
    lost = many.pulls.pop(NAMES[0])
    syncer = SyncThread(PullRequestSync(following, own_sessions, Singer(following)), tick=0)
    for repository in NAMES[:2]:
        syncer.trigger_sync(repository)
    syncer.start()
    try:
        wait_until(lambda: isinstance(syncer.last_outcome, SyncError), 30, "the first fails")
        syncer.trigger_sync(NAMES[1])
        wait_until(lambda: not syncer._is_triggered, 30, "the second is asked for alone")
        assert isinstance(syncer.last_outcome, SyncError)
        many.pulls[NAMES[0]] = lost
        syncer.trigger_sync(NAMES[0])
        wait_until(lambda: isinstance(syncer.last_outcome, SyncReport), 30, "the first ends well")
    finally:
        syncer.stop()
        syncer.join(10)


@pytest.mark.parametrize(("token", "seconds"), [(TOKEN, 60), ("", 180)])
def test_without_a_token_each_question_counts(
    token: str, seconds: float, following: VcsSettings, own_sessions: sessionmaker[Session]
) -> None:
    settings = following.model_copy(update={"github_token": SecretStr(token)})
    singer = Singer(settings)
    singer.quota = Quota(60, 10, time.monotonic() + 600)

    spaced = SyncThread(PullRequestSync(settings, own_sessions, singer), tick=60)._stretch_for_quota(60)

    assert spaced == pytest.approx(seconds, rel=0.1)


def test_what_the_tap_was_told_of_the_quota_is_not_forgotten(sync: PullRequestSync) -> None:
    sync.run()
    sync.run()
    assert sync.probe.quota
    newer = sync.singer.quota = Quota(60, 1, time.monotonic() + 600)
    sync.find_unchanged([])

    assert sync.singer.quota is newer


def test_webhooks_put_no_tick_off(
    following: VcsSettings, own_sessions: sessionmaker[Session], many: FakeGitHub
) -> None:
    sync = PullRequestSync(following, own_sessions, Singer(following))
    sync.run()
    many.reset()
    syncer = SyncThread(sync, tick=5)
    syncer.start()
    try:
        wait_until(lambda: len(many.log) >= len(NAMES), 30, "the first tick")
        many.reset()

        def nudged() -> bool:
            syncer.trigger_sync(NAMES[1])
            return len(many.log) >= len(NAMES)

        wait_until(nudged, 30, "the next tick comes among the webhooks")
    finally:
        syncer.stop()
        syncer.join(10)


def tell(client: httpx.Client, repository: str) -> None:
    """As GitHub does, in its own spelling of the name."""
    body = json.dumps({"repository": {"full_name": repository.upper()}}).encode()
    assert deliver(client, body, delivery=repository).status_code == 202


def merges(client: httpx.Client, repository: str) -> list[str]:
    return [
        pull["title"]
        for pull in client.get(f"/pull-requests?repository={repository}").json()["pull_requests"]
    ]


def written(sessions: sessionmaker[Session]) -> list[str]:
    """When each state was written."""
    with sessions() as session:
        return list(map(str, session.scalars(text("SELECT updated_at FROM vcs.sync_states ORDER BY 1"))))
