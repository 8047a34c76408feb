"""What is newest: of merges and tags, whatever comes late, twice, or back into the queue."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session, sessionmaker

from db import releases
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
