"""The position of a sync, GitHub's quota, and what a sync brought."""

import time
from dataclasses import dataclass, field

from vcs.singer_process import Json


@dataclass(frozen=True)
class Bookmark:
    """The position of a sync: Singer's state, and the newest records by their fingerprints.

    Without a state everything is fetched.
    """

    state: Json = field(default_factory=dict)
    newest: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Quota:
    """The quota of calls to GitHub: at most `remaining` until `until` by `time.monotonic`."""

    limit: int
    remaining: int
    until: float

    @property
    def seconds_left(self) -> float:
        """Return the seconds until the window ends; 0 or less: it has ended."""
        return self.until - time.monotonic()

    def can_afford(self, requests: int) -> bool:
        """Return whether so many requests take less than half of the remaining quota."""
        return requests * 2 <= (self.remaining if self.seconds_left > 0 else self.limit)


@dataclass(frozen=True)
class SyncResult:
    rows: int
    requests: int
    bookmark: Bookmark
    missing: tuple[str, ...] = ()  # branches that the repository lacks, though it has others


def has_moved(tips: dict[str, str], progress: Bookmark) -> bool:
    """Return whether a branch is at another commit than before."""
    branches = progress.newest.get("branches", {})
    return any(branches.get(branch, {}).get("commit") != tip for branch, tip in tips.items())
