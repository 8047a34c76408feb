"""The demo's pull requests: the stand-in for GitHub shows them, `slipway demo` merges them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from resources.demo.github import PullRequests
from resources.demo.proposals import PREPARED, proposal
from resources.demo.repository import Repository, opened

NAME = "demo/encyclopedia-visits"


class Desk:
    """Made anew from git at every start, so that what is shown and what was merged are never two things."""

    def __init__(self, home: Path) -> None:
        """`home` is the demo's folder; the first start makes the repository in it."""
        self.repository = Repository(home / "encyclopedia-visits.git")
        self.pulls = PullRequests(NAME)
        self.repository.create()
        with self.repository.alone():
            self.catch_up()

    def merge(self, number: int | None = None) -> dict[str, Any]:
        """Merge this pull request, or the oldest open one; merged already, it says how it was.

        ValueError: it was never opened.
        """
        with self.repository.alone():
            self.catch_up()
            if number is None:
                number = min(pull.number for pull in self.pulls.list("open"))
            merged = bool(self.pulls.get(number).merged_at)
            if not merged:
                now = datetime.now(UTC).replace(microsecond=0)
                at = max(now, self.newest() + timedelta(seconds=1))  # GitHub's dates have no fractions
                self.repository.merge(proposal(number), self.opened_at(number), at)
                self.catch_up()
            return {**self.describe(number), "already": merged}

    def list(self) -> list[dict[str, Any]]:
        return [self.describe(pull.number) for pull in reversed(self.pulls.list())]

    def describe(self, number: int) -> dict[str, Any]:
        pull = self.pulls.get(number)
        return {
            "number": number,
            "title": pull.title,
            "body": pull.body,
            "kind": proposal(number).kind,
            "merged_at": pull.merged_at,
            "merge_commit_sha": pull.merge_commit_sha if pull.merged_at else None,
        }

    def catch_up(self) -> None:
        """Open what should be open and show as merged what git has merged."""
        merges = self.repository.merges()
        wanted = max(PREPARED, len(merges) + 1)  # never without one to merge
        for number in range(len(self.pulls.list()) + 1, wanted + 1):
            self.open(number)
        for merge in merges.values():
            if not self.pulls.get(merge.number).merged_at:
                self.pulls.touch(merge.number, head_sha=merge.head, base_sha=merge.base)
                self.pulls.merge(merge.number, merge.commit, merge.at)

    def open(self, number: int) -> None:
        change, at = proposal(number), self.opened_at(number)
        head = self.repository.head(change.branch) or self.repository.propose(change, at)
        base = self.repository.git(self.repository.path, "rev-parse", f"{head}^")
        self.pulls.open(
            change.title,
            body=change.body,
            author=change.author,
            at=at,
            head=change.branch,
            head_sha=head,
            base_sha=base,
        )

    def opened_at(self, number: int) -> datetime:
        """The prepared ones when the demo's history says; a further one when all before it were merged."""
        if number <= PREPARED:
            return opened(number)
        return max(merge.at for merge in self.repository.merges().values() if merge.number < number)

    def newest(self) -> datetime:
        return max(merge.at for merge in self.repository.merges().values())
