"""What a sync brings, what it leaves alone, and who shares it."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from db import outbox, outbox_delivery, pull_requests
from db.listener import NotificationListener
from db.vcs_models import OutboxSubject
from resources.demo.github import FakeGitHub, FakePullRequests, GitHubFault
from resources.demo.github.pulls import generate_pulls
from tests.harness.waiting import wait_until
from tests.vcs.conftest import REPOSITORY, SettingsOf
from vcs.errors import SyncError
from vcs.settings import VcsSettings
from vcs.singer import Singer
from vcs.sync import PullRequestSync
from vcs.sync_thread import SyncThread


def test_a_checkout_says_what_it_found(client: httpx.Client, pulls: FakePullRequests) -> None:
    pulls.open("Still open", head="a")
    merged = pulls.open("Use the weekday", head="b", author="grace")
    pulls.merge(merged, commit="c0ffee", at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC))

    answer = client.post("/checkout")

    assert answer.status_code == 200
    found = answer.json()
    assert found.pop("seconds") > 0
    assert found == {
        "repository": REPOSITORY,
        "rows": 2,
        "newly_accepted": 1,
        "newest_merge": {
            "repository": REPOSITORY,
            "number": merged,
            "title": "Use the weekday",
            "author": "grace",
            "commit": "c0ffee",
            "merged_at": "2026-03-01T12:30:00Z",
        },
    }


def test_a_checkout_is_a_link_too(client: httpx.Client) -> None:
    assert client.get("/checkout").json()["newest_merge"] is None


def test_with_nothing_new_one_request_goes_to_github(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    generate_pulls(pulls, 250)
    first = sync.run()
    assert (first.rows, first.newly_accepted, len(github.log)) == (250, 175, 3)

    github.reset()
    again = sync.run()

    assert (again.rows, again.newly_accepted) == (0, 0)
    assert again.newest_merge == first.newest_merge
    assert len(github.log) == 1


def test_only_what_changed_is_brought(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    generate_pulls(pulls, 150)
    sync.run()
    pulls.merge(10)
    pulls.touch(20, title="Edited")
    github.reset()

    second = sync.run()

    assert (second.rows, second.newly_accepted) == (2, 1)
    assert len(github.log) == 2  # whether there is anything new, and the tap
    assert second.newest_merge and second.newest_merge.number == 10


def test_a_merge_within_the_second_of_the_last_sync_is_not_lost(
    sync: PullRequestSync, pulls: FakePullRequests
) -> None:
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    number = pulls.open("Quick", head="a", at=moment)
    sync.run()
    pulls.merge(number, commit="abc", at=moment)
    other = pulls.open("Also quick", head="b", at=moment)

    second = sync.run()

    assert (second.rows, second.newly_accepted) == (2, 1)
    assert second.newest_merge and second.newest_merge.commit == "abc"
    assert other > number
    assert sync.run().rows == 0


def test_a_merge_that_github_shows_late_is_not_lost(
    sync: PullRequestSync, pulls: FakePullRequests, sessions: sessionmaker[Session]
) -> None:
    moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
    late, other = (pulls.open(title, head="a", at=moment) for title in ("Late", "Other"))
    sync.run()
    pulls.merge(other, at=moment + timedelta(seconds=541))
    assert sync.run().newly_accepted == 1
    pulls.merge(late, at=moment + timedelta(seconds=1))  # as a replica that lags makes it

    assert sync.run().newly_accepted == 1
    assert numbers(sessions) == [other, late]
    assert sync.run().rows == 0


def test_what_comes_later_still_is_found_once_a_day(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests, sessions: sessionmaker[Session]
) -> None:
    moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
    late, other = (pulls.open(title, head="a", at=moment) for title in ("Late", "Other"))
    pulls.merge(other, at=moment + timedelta(hours=1))
    sync.run()
    pulls.merge(late, at=moment + timedelta(seconds=1))
    assert sync.run().newly_accepted == 0

    a_day_passes(sessions)
    assert sync.run().newly_accepted == 1
    assert numbers(sessions) == [other, late]
    assert sync.run().rows == 0


def test_an_older_version_takes_no_newer_ones_place(
    sync: PullRequestSync, pulls: FakePullRequests, sessions: sessionmaker[Session]
) -> None:
    moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
    number = pulls.open("Merged", head="a", at=moment)
    pulls.merge(number, at=moment + timedelta(seconds=60))
    sync.run()
    pulls.touch(number, at=moment, closed_at=None, merged_at=None)  # as a replica that lags shows it

    for _ in range(2):
        assert sync.run().rows == 0
    assert numbers(sessions) == [number]


def test_many_changes_at_one_time_are_asked_for_once(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    with pulls.batch_changes():
        for number in range(250):
            pulls.open(f"Number {number}", head="a", at=datetime(2026, 5, 1, tzinfo=UTC))
    sync.run()
    github.reset()

    assert sync.run().rows == 0
    assert len(github.log) == 1


def test_the_whole_is_asked_for_only_where_the_quota_allows_it(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests, sessions: sessionmaker[Session]
) -> None:
    generate_pulls(pulls, 150)
    github.faults.arm(GitHubFault("none", remaining=3))
    sync.run()
    a_day_passes(sessions)
    github.reset()

    assert sync.run().rows == 0
    assert len(github.log) == 1
    sync.run()
    assert len(github.log) == 3


def test_a_whole_pass_that_fails_keeps_no_news_back(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests, sessions: sessionmaker[Session]
) -> None:
    generate_pulls(pulls, 150)
    sync.run()
    a_day_passes(sessions)
    github.faults.arm(GitHubFault("forbidden", after=1))
    with pytest.raises(SyncError):
        sync.run()
    github.faults.arm(GitHubFault("none"))
    pulls.merge(10)
    github.log.clear()

    assert sync.run().newly_accepted == 1
    assert len(github.log) == 2


def a_day_passes(sessions: sessionmaker[Session]) -> None:
    """Since everything was last asked for."""
    with sessions.begin() as session:
        session.execute(
            text("""
                UPDATE vcs.sync_states
                SET state = jsonb_set(state, '{whole,at}', to_jsonb((state #>> '{whole,at}')::float - 86400))
            """)
        )


def numbers(sessions: sessionmaker[Session]) -> list[int]:
    """Of those that are accepted, newest first."""
    with sessions() as session:
        return [found.number for found in pull_requests.list_accepted(session, REPOSITORY, "main", limit=5)]


def test_only_merges_into_the_branch_are_accepted(sync: PullRequestSync, pulls: FakePullRequests) -> None:
    pulls.merge(pulls.open("Elsewhere", head="a", base="develop"))

    assert (found := sync.run()).rows == 1
    assert found.newly_accepted == 0
    assert found.newest_merge is None


def test_repositories_keep_apart(
    sync: PullRequestSync,
    github: FakeGitHub,
    pulls: FakePullRequests,
    settings_of: SettingsOf,
    sessions: sessionmaker[Session],
) -> None:
    other = FakePullRequests("acme/gadgets")
    github.pulls[other.repository] = other
    pulls.merge(pulls.open("Ours", head="a"))
    sync.run()
    other.merge(other.open("Theirs", head="a"))
    settings = settings_of(repository="acme/gadgets")

    found = PullRequestSync(settings, sessions, Singer(settings)).run()

    assert (found.rows, found.newly_accepted) == (1, 1)
    assert found.newest_merge and found.newest_merge.title == "Theirs"
    assert sync.run().rows == 0


def test_titles_that_postgres_cannot_hold_are_mended(
    sync: PullRequestSync, pulls: FakePullRequests, sessions: sessionmaker[Session]
) -> None:
    pulls.merge(pulls.open("nul \x00, half a pair \ud83d, a whole one 🚀, \\N, tab\t", head="a"))

    newest = sync.run().newest_merge

    assert newest and newest.title == "nul , half a pair ?, a whole one 🚀, \\N, tab\t"


def test_people_and_branches_that_are_gone_are_no_error(
    sync: PullRequestSync, pulls: FakePullRequests, github: FakeGitHub
) -> None:
    pulls.open("From a deleted fork", head="a")
    github.faults.arm(
        GitHubFault("garbled", fields={"user": None, "head": None, "body": None, "labels": None})
    )

    assert sync.run().rows == 1


def test_the_table_stays_as_the_migration_made_it(
    sync: PullRequestSync, pulls: FakePullRequests, sessions: sessionmaker[Session]
) -> None:
    """The target would make its own table with times that lose their zone; it must not touch ours."""
    generate_pulls(pulls, 20)
    with sessions.begin() as session:
        session.execute(text("SET LOCAL search_path TO public"))
        session.execute(
            text("ALTER ROLE postgres IN DATABASE " + database(session) + " SET timezone = 'Asia/Tokyo'")
        )
        before = shape(session)
    at = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    pulls.merge(pulls.open("In Tokyo too", head="a"), at=at)

    newest = sync.run().newest_merge

    assert newest and newest.merged_at == at
    with sessions() as session:
        assert shape(session) == before


def database(session: Session) -> str:
    return str(session.execute(text("SELECT current_database()")).scalar_one())


def shape(session: Session) -> list[tuple[str, ...]]:
    """Columns with their types, indexes and views of the schema."""
    queries = (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns",
        "SELECT tablename, indexname, indexdef, '' FROM pg_indexes",
        "SELECT table_name, view_definition, '', '' FROM information_schema.views",
    )
    found = []
    for query in queries:
        where = "schemaname" if "pg_indexes" in query else "table_schema"
        rows = session.execute(text(f"SELECT * FROM ({query} WHERE {where} = 'vcs') AS found ORDER BY 1, 2"))
        found += [tuple(map(str, row)) for row in rows]
    assert len(found) > 30
    return found


def test_open_and_accepted_changes_alone_wake_the_controller(
    sync: PullRequestSync, pulls: FakePullRequests, database_url: str, sessions: sessionmaker[Session]
) -> None:
    wakeup = NotificationListener(database_url, "pull_requests")
    try:
        wakeup.wait(5)  # the first one always looks
        number = pulls.open("Use the weekday", head="a")
        sync.run()
        assert wakeup.wait(5)  # to be checked
        sync.run()
        assert not wakeup.wait(0.2)

        pulls.merge(number)
        sync.run()
        assert wakeup.wait(5)
        with sessions() as session:
            assert len(pull_requests.list_accepted(session, REPOSITORY, "main", limit=5)) == 1

        sync.run()
        assert not wakeup.wait(0.2)
    finally:
        wakeup.close()


def test_the_look_out_hears_of_a_change_before_it_is_stored(
    sync: PullRequestSync, pulls: FakePullRequests, database_url: str
) -> None:
    wakeup = NotificationListener(database_url, "syncs", "pull_requests")
    try:
        wakeup.wait(5)  # the first one always looks
        pulls.open("Use the weekday", head="a")
        sync.run()
        wakeup.wait(5)
        assert wakeup.take_notified("syncs")
        assert not wakeup.take_notified("syncs")
        wakeup.wait(0.2)
        sync.run()  # nothing has changed
        assert not wakeup.wait(0.2)
        assert not wakeup.take_notified("syncs")
    finally:
        wakeup.close()


def test_a_daily_sync_deletes_old_statuses_that_nothing_delivers(
    sync: PullRequestSync, pulls: FakePullRequests, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        outbox.put_status(
            session,
            repository=REPOSITORY,
            commit="a" * 40,
            model="iris",
            state="pending",
            description="train",
        )
        session.execute(
            update(OutboxSubject).values(changed_at=func.now() - outbox_delivery.STATUSES_KEPT * 2)
        )
    generate_pulls(pulls, 1)
    sync.run()
    with sessions() as session:
        assert session.scalars(select(OutboxSubject)).all() == []


def test_a_new_catalog_brings_everything_once_more(sync: PullRequestSync, pulls: FakePullRequests) -> None:
    generate_pulls(pulls, 5)
    sync.run()
    sync.catalog = "of a later version"

    assert sync.run().rows == 5
    assert sync.run().rows == 0


def test_who_asks_while_a_sync_runs_shares_the_next_one(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    syncer = SyncThread(sync, tick=0)
    syncer.start()
    try:
        github.faults.arm(GitHubFault("none", delay=60))
        first = syncer.request_sync()
        wait_until(lambda: github.log, 20, "the first sync asks GitHub")
        number = pulls.open("While it runs", head="a")
        pulls.merge(number)
        others = [syncer.request_sync() for _ in range(50)]
        github.faults.arm(None)

        assert len(set(map(id, others))) == 1
        found = others[0].result(60)
        assert first.done()
        assert found.newest_merge and found.newest_merge.number == number
        assert len(github.log) == 2
    finally:
        syncer.stop()
        syncer.join(10)


def test_the_tick_syncs_by_itself(
    settings_of: SettingsOf, sessions: sessionmaker[Session], github: FakeGitHub, pulls: FakePullRequests
) -> None:
    settings = settings_of(sync_seconds=0.1)
    syncer = SyncThread(PullRequestSync(settings, sessions, Singer(settings)), settings.sync_seconds)
    syncer.start()
    try:
        wait_until(lambda: len(github.log) >= 2, 60, "two syncs")
    finally:
        syncer.stop()
        syncer.join(10)


def test_below_a_tenth_of_the_quota_only_the_tick_syncs(
    client: httpx.Client, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    github.faults.arm(GitHubFault("none", remaining=499))
    assert client.post("/checkout").status_code == 200

    answer = client.post("/checkout")

    assert answer.status_code == 429
    assert answer.json()["kind"] == "low-quota"
    assert "499 of 5000 calls are left" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert len(github.log) == 1


def test_a_public_repository_needs_no_token(
    settings_of: SettingsOf, sessions: sessionmaker[Session], github: FakeGitHub, pulls: FakePullRequests
) -> None:
    github.token = None
    pulls.open("Public", head="a")
    settings = settings_of(github_token="")

    assert PullRequestSync(settings, sessions, Singer(settings)).run().rows == 1


def test_what_is_known_is_listed(client: httpx.Client, pulls: FakePullRequests) -> None:
    generate_pulls(pulls, 12)
    client.post("/checkout")

    accepted = client.get("/pull-requests").json()
    assert [p["state"] for p in accepted["pull_requests"]] == ["merged"] * 9
    assert accepted["next"] is None
    assert [p["number"] for p in client.get("/pull-requests?state=open").json()["pull_requests"]] == [10]
    assert pages(client, "/pull-requests?state=all&limit=5") == [[12, 11, 10, 9, 8], [7, 6, 5, 4, 3], [2, 1]]
    assert [one for page in pages(client, "/pull-requests?limit=2") for one in page] == [
        p["number"] for p in accepted["pull_requests"]
    ]
    assert pages(client, "/pull-requests?state=all&before=99") == [[]]
    assert client.get("/pull-requests?state=wrong").headers["Content-Type"] == "application/problem+json"


def pages(client: httpx.Client, address: str | None) -> list[list[int]]:
    """The numbers on each page, from this one on."""
    found = []
    while address:
        page = client.get(address).json()
        found.append([p["number"] for p in page["pull_requests"]])
        address = page["next"]
    return found


def test_health_and_metrics(client: httpx.Client, settings: VcsSettings) -> None:
    assert client.get("/health").json() == {"status": "ok", "repository": REPOSITORY, "last_sync": "none yet"}
    client.post("/checkout")
    assert client.get("/health").json()["last_sync"] == "ok"
    assert 'slipway_syncs_total{outcome="ok"} 1.0' in client.get("/metrics").text


@pytest.mark.soak
def test_ten_thousand_pull_requests(
    sync: PullRequestSync, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    generate_pulls(pulls, 10_000)
    found = sync.run()

    assert (found.rows, found.newly_accepted, len(github.log)) == (10_000, 7_000, 100)
    assert sync.run().rows == 0
