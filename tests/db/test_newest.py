"""What is newest: of merges and tags, whatever comes late, twice, or back into the queue."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db import claims, deployments, newest, release_queue, releases
from db.claims import Claim, Deployed, Finished, Retry
from db.pull_requests import Accepted
from db.states import Status

Sessions = sessionmaker[Session]
BEGAN = datetime(2026, 1, 5, 12, tzinfo=UTC)


def merge(number: int, commit: str | None = None) -> Accepted:
    """A pull request, merged so many minutes after the first."""
    at = BEGAN + timedelta(minutes=number)
    return Accepted("a/m", number, f"Change {number}", "dana", commit or str(number), at)


def queue(sessions: Sessions, *newest_first: Accepted) -> int | None:
    with sessions.begin() as session:
        release = release_queue.queue_merges(session, "m", newest_first)
        return release.id if release else None


def states(sessions: Sessions) -> dict[int | None, Status]:
    """Releases by the number of their pull request."""
    with sessions.begin() as session:
        return {release.pull_request: release.status for release in releases.list_releases(session)}


def test_pull_requests_with_one_merge_commit_are_one_release(sessions: Sessions) -> None:
    queue(sessions, merge(1))
    queue(sessions, merge(3, "both"), merge(2, "both"), merge(1))

    assert states(sessions) == {1: Status.SUPERSEDED, 3: Status.QUEUED}
    assert queue(sessions, merge(3, "both"), merge(2, "both"), merge(1)) is None


def tag(sessions: Sessions, *newest_first: str) -> int | None:
    with sessions.begin() as session:
        named = [(name, f"commit {name}") for name in newest_first]
        release = release_queue.queue_tags(session, "m", "a/m", named)
        return release.id if release else None


def take(sessions: Sessions, release: int | None) -> Claim:
    assert release is not None
    with sessions.begin() as session:
        claim = claims.claim(session, release)
        assert claim is not None
        return claim


def retry(session: Session, claim: Claim) -> None:
    claims.settle(session, claim, Retry("the server is away", timedelta()))


def crash(session: Session, claim: Claim) -> None:
    claims.requeue_orphaned(session, claim.release)


def stop(session: Session, claim: Claim) -> None:
    claims.release_claim(session, claim, "the appliance was stopped")


@pytest.mark.parametrize("put_back", [retry, crash, stop])
def test_a_requeued_release_never_follows_a_newer_merge(
    sessions: Sessions, put_back: Callable[[Session, Claim], None]
) -> None:
    older = take(sessions, queue(sessions, merge(1)))
    queue(sessions, merge(2), merge(1))
    with sessions.begin() as session:
        put_back(session, older)

    assert states(sessions) == {1: Status.SUPERSEDED, 2: Status.QUEUED}


@pytest.mark.parametrize("put_back", [retry, crash, stop])
def test_a_requeued_release_never_follows_a_newer_tag(
    sessions: Sessions, put_back: Callable[[Session, Claim], None]
) -> None:
    older = take(sessions, tag(sessions, "v1"))
    tag(sessions, "v2", "v1")
    with sessions.begin() as session:
        put_back(session, older)

    with sessions.begin() as session:
        found = {release.ref: (release.status, release.reason) for release in releases.list_releases(session)}
    assert found["v1"] == (Status.SUPERSEDED, "v2 was tagged after it, before it was finished")
    assert found["v2"] == (Status.QUEUED, None)


def test_an_older_merge_is_not_deployed_after_a_newer_one(sessions: Sessions) -> None:
    older = take(sessions, queue(sessions, merge(1)))
    newer = take(sessions, queue(sessions, merge(2), merge(1)))
    for claim in (newer, older):
        with sessions.begin() as session:
            claims.settle(session, claim, Deployed(deployments.take_snapshot(session, "m")))

    assert states(sessions) == {1: Status.SUPERSEDED, 2: Status.DEPLOYED}
    with sessions.begin() as session:
        wanted = deployments.find_wanted(session, "m")
        assert wanted is not None
        assert wanted.release_id == newer.release.id


def test_a_late_older_merge_of_the_same_second_is_superseded(sessions: Sessions) -> None:
    first, tip = merge(1), merge(5)
    older = replace(merge(9), merged_at=tip.merged_at)
    queue(sessions, first)
    queue(sessions, tip, first)
    seen = newest.sort_merges([older, tip, first], {tip.commit: 1})
    with sessions.begin() as session:
        assert release_queue.is_tied(session, "m", [older, tip, first])

    assert queue(sessions, *seen) is None
    assert states(sessions) == {1: Status.SUPERSEDED, 5: Status.QUEUED, 9: Status.SUPERSEDED}
    with sessions.begin() as session:
        assert not release_queue.is_tied(session, "m", [older, tip, first])


def test_an_older_tag_is_not_released_when_the_newest_goes(sessions: Sessions) -> None:
    tag(sessions, "v2", "v1")

    assert tag(sessions, "v1") is None
    assert tag(sessions, "v1.5", "v1") is None
    assert tag(sessions) is None
    assert tag(sessions, "v2.1", "v1.5", "v1") is not None


def of_a_merge_that_tags_release(sessions: Sessions, *newest_first: Accepted) -> None:
    """Such a merge is looked into, and not released."""
    claim = take(sessions, queue(sessions, *newest_first))
    with sessions.begin() as session:
        claims.record_facts(session, claim, release_on="tag")
        claims.settle(session, claim, Finished(Status.SUPERSEDED, "a tag releases it"))


def test_a_merge_that_is_not_released_keeps_no_tag_from_it(sessions: Sessions) -> None:
    of_a_merge_that_tags_release(sessions, merge(1))
    tagged = tag(sessions, "v1")
    queue(sessions, merge(2), merge(1))
    claim = take(sessions, tagged)
    with sessions.begin() as session:
        retry(session, claim)

    claim = take(sessions, tagged)
    with sessions.begin() as session:
        claims.settle(session, claim, Deployed(deployments.take_snapshot(session, "m")))
    assert states(sessions)[None] is Status.DEPLOYED


def test_a_merge_that_is_released_again_is_newer_than_a_tag(sessions: Sessions) -> None:
    of_a_merge_that_tags_release(sessions, merge(1))
    tagged = take(sessions, tag(sessions, "v1"))
    merged = take(sessions, queue(sessions, merge(2), merge(1)))
    with sessions.begin() as session:
        claims.record_facts(session, merged, release_on="merge")
        retry(session, tagged)

    assert states(sessions)[None] is Status.SUPERSEDED
