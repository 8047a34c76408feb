"""What is newest: of merges and tags, whatever comes late, twice, or back into the queue."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db import claims, deployments, newest, releases
from db.claims import Claim, Deployed, Later
from db.models import Status
from db.pull_requests import Accepted

Sessions = sessionmaker[Session]
BEGAN = datetime(2026, 1, 5, 12, tzinfo=UTC)


def merge(number: int, commit: str | None = None) -> Accepted:
    """A pull request, merged so many minutes after the first."""
    at = BEGAN + timedelta(minutes=number)
    return Accepted("a/m", number, f"Change {number}", "dana", commit or str(number), at)


def queue(sessions: Sessions, *newest_first: Accepted) -> int | None:
    with sessions.begin() as session:
        release = releases.queue_merges(session, "m", newest_first)
        return release.id if release else None


def states(sessions: Sessions) -> dict[int | None, Status]:
    """Releases by the number of their pull request."""
    with sessions.begin() as session:
        return {release.pull_request: release.status for release in releases.history(session)}


def test_pull_requests_with_one_merge_commit_are_one_release(sessions: Sessions) -> None:
    queue(sessions, merge(1))
    queue(sessions, merge(3, "both"), merge(2, "both"), merge(1))

    assert states(sessions) == {1: Status.SUPERSEDED, 3: Status.QUEUED}
    assert queue(sessions, merge(3, "both"), merge(2, "both"), merge(1)) is None


def take(sessions: Sessions, release: int | None) -> Claim:
    assert release is not None
    with sessions.begin() as session:
        claim = claims.take(session, release)
        assert claim is not None
        return claim


def retry(session: Session, claim: Claim) -> None:
    claims.settle(session, claim, Later("the server is away", datetime.now(UTC)))


def crash(session: Session, claim: Claim) -> None:
    claims.abandon(session, claim.release)


def stop(session: Session, claim: Claim) -> None:
    claims.give_back(session, claim, "the appliance was stopped")


@pytest.mark.parametrize("put_back", [retry, crash, stop])
def test_what_goes_back_into_the_queue_never_comes_after_a_newer_merge(
    sessions: Sessions, put_back: Callable[[Session, Claim], None]
) -> None:
    older = take(sessions, queue(sessions, merge(1)))
    queue(sessions, merge(2), merge(1))
    with sessions.begin() as session:
        put_back(session, older)

    assert states(sessions) == {1: Status.SUPERSEDED, 2: Status.QUEUED}


@pytest.mark.parametrize("put_back", [retry, crash, stop])
def test_what_goes_back_into_the_queue_never_comes_after_a_newer_tag(
    sessions: Sessions, put_back: Callable[[Session, Claim], None]
) -> None:
    def tag(*names: str) -> int:
        with sessions.begin() as session:
            release = releases.queue_tags(session, "m", "a/m", [(name, f"commit {name}") for name in names])
            assert release is not None
            return release.id

    older = take(sessions, tag("v1"))
    tag("v2", "v1")
    with sessions.begin() as session:
        put_back(session, older)

    with sessions.begin() as session:
        found = {release.ref: (release.status, release.reason) for release in releases.history(session)}
    assert found["v1"] == (Status.SUPERSEDED, "v2 was tagged after it, before it was finished")
    assert found["v2"] == (Status.QUEUED, None)


def test_an_older_merge_is_not_deployed_after_a_newer_one(sessions: Sessions) -> None:
    older = take(sessions, queue(sessions, merge(1)))
    newer = take(sessions, queue(sessions, merge(2), merge(1)))
    for claim in (newer, older):
        with sessions.begin() as session:
            claims.settle(session, claim, Deployed(deployments.look(session, "m")))

    assert states(sessions) == {1: Status.SUPERSEDED, 2: Status.DEPLOYED}
    with sessions.begin() as session:
        wanted = deployments.wanted(session, "m")
        assert wanted is not None
        assert wanted.release_id == newer.release.id


def test_an_older_merge_of_the_same_second_that_comes_late_is_superseded(sessions: Sessions) -> None:
    first, tip = merge(1), merge(5)
    older = replace(merge(9), merged_at=tip.merged_at)
    queue(sessions, first)
    queue(sessions, tip, first)
    seen = newest.in_order([older, tip, first], {tip.commit: 1})
    with sessions.begin() as session:
        assert releases.is_tied(session, "m", [older, tip, first])

    assert queue(sessions, *seen) is None
    assert states(sessions) == {1: Status.SUPERSEDED, 5: Status.QUEUED, 9: Status.SUPERSEDED}
    with sessions.begin() as session:
        assert not releases.is_tied(session, "m", [older, tip, first])
