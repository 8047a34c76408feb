"""The demo's pull requests: the fake of GitHub shows them, `slipway demo` merges them."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from resources.demo.github import FakePullRequests
from resources.demo.github.webhooks import WebhookSender
from resources.demo.github.written import WrittenStates
from resources.demo.merge_queue import MergeQueue, QueuedGroup
from resources.demo.page_model import PageModel
from resources.demo.pull_requests import PREPARED_COUNT, make_proposal
from resources.demo.repository import DemoRepository, opened_time
from resources.demo.tomorrow import DemoData

REPOSITORY_NAME = "demo/encyclopedia-visits"
NO_WEBHOOK = WebhookSender()


class DemoPullRequests:
    """Pull requests rebuilt from git at every start, so that they never differ from what was merged."""

    def __init__(
        self, home: Path, webhook: WebhookSender = NO_WEBHOOK, data_folder: Path | None = None
    ) -> None:
        """Open the demo in folder `home`; the first start creates the repository in it.

        `data_folder` is the model's on the appliance, where that has one.
        """
        self.repository = DemoRepository(home / "encyclopedia-visits.git")
        self.pulls = FakePullRequests(REPOSITORY_NAME)
        self.written = WrittenStates(home / "written.json")
        self.merge_queue = MergeQueue(self.repository, REPOSITORY_NAME, self.written, webhook)
        self.data = DemoData(self.repository, data_folder)
        self.page_model = PageModel(self.repository, data_folder)
        self.repository.create()
        with self.repository.lock_exclusively():
            self.sync_with_git()

    def merge(self, number: int | None = None) -> dict[str, Any]:
        """Merge this pull request, or the oldest open one; if merged already, return that merge.

        Raises ValueError when it was never opened.
        """
        with self.repository.lock_exclusively():
            self.sync_with_git()
            if number is None:
                number = min(pull.number for pull in self.pulls.list_pulls("open"))
            merged = bool(self.pulls.get(number).merged_at)
            if not merged:
                self.repository.merge_proposal(
                    make_proposal(number), self.opened_at(number), self.find_next_time()
                )
                self.sync_with_git()
                self.merge_queue.rebuild(self.requeue)
            return {**self.describe_pull(number), "already": merged}

    def queue(self, number: int | None = None) -> dict[str, Any]:
        """Put this pull request, or the oldest open one that is not there, into the merge queue.

        One that conflicts is brought up to date first, as its author would. Raises ValueError when it is
        not open, or conflicts with what is queued before it.
        """
        with self.repository.lock_exclusively():
            self.sync_with_git()
            queued = {group.number for group in self.merge_queue.list_groups()}
            waiting = {pull.number for pull in self.pulls.list_pulls("open")} - queued
            if number is None:
                number = min(waiting, default=0)
            if number not in waiting | queued:
                raise ValueError(f"#{number} is not open")
            group = self.add_to_queue(number)
            return {**self.describe_pull(number), "group": group.commit, "branch": group.branch}

    def add_to_queue(self, number: int) -> QueuedGroup:
        change, at = make_proposal(number), self.find_next_time()
        try:
            return self.merge_queue.add(change, at)
        except ValueError:
            head = self.repository.push_proposal(change, at)
            base = self.repository.run_git(self.repository.path, "rev-parse", f"{head}^")
            self.pulls.touch(number, head_sha=head, base_sha=base)
            return self.merge_queue.add(change, at)

    def advance_data(self) -> dict[str, Any]:
        """Let three months pass; raises ValueError where there is no folder of data."""
        with self.repository.lock_exclusively():
            return self.data.advance(self.find_next_time())

    def advance_model(self, is_recorded: bool = False) -> dict[str, Any]:
        """Have the model of one page's visits, or train it on what was recorded.

        Raises ValueError where there is no folder of data.
        """
        with self.repository.lock_exclusively():
            return self.page_model.advance(self.find_next_time(), is_recorded=is_recorded)

    def advance_queue(self) -> None:
        """Merge what has passed, as GitHub does when a status comes."""
        with self.repository.lock_exclusively():
            if self.merge_queue.advance(self.requeue):
                self.sync_with_git()

    def requeue(self, number: int) -> None:
        """Put a pull request into the queue again, unless it was merged or conflicts now."""
        if not self.pulls.get(number).merged_at:
            with suppress(ValueError):
                self.add_to_queue(number)

    def list_pulls(self) -> list[dict[str, Any]]:
        with self.repository.lock_exclusively():  # a merge moves main, and then its pull request
            groups = {group.number: group.commit for group in self.merge_queue.list_groups()}
            return [
                {**self.describe_pull(pull.number), "group": groups.get(pull.number)}
                for pull in reversed(self.pulls.list_pulls())
            ]

    def describe_pull(self, number: int) -> dict[str, Any]:
        pull = self.pulls.get(number)
        return {
            "number": number,
            "title": pull.title,
            "body": pull.body,
            "kind": make_proposal(number).kind,
            "merged_at": pull.merged_at,
            "merge_commit_sha": pull.merge_commit_sha if pull.merged_at else None,
        }

    def sync_with_git(self) -> None:
        """Open the pull requests that should be open and mark as merged those that git has merged."""
        merges = self.repository.list_merges()
        wanted = max(PREPARED_COUNT, len(merges) + 1)  # never without one to merge
        for number in range(len(self.pulls.list_pulls()) + 1, wanted + 1):
            self.open_pull(number)
        for merge in merges.values():
            if not self.pulls.get(merge.number).merged_at:
                self.pulls.touch(merge.number, head_sha=merge.head, base_sha=merge.base)
                self.pulls.merge(merge.number, merge.commit, merge.at)

    def open_pull(self, number: int) -> None:
        change, at = make_proposal(number), self.opened_at(number)
        head = self.repository.find_head(change.branch) or self.repository.push_proposal(change, at)
        base = self.repository.run_git(self.repository.path, "rev-parse", f"{head}^")
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
        """Return a prepared one's time in the demo's history; for others, when all before were merged."""
        if number <= PREPARED_COUNT:
            return opened_time(number)
        return max(merge.at for merge in self.repository.list_merges().values() if merge.number < number)

    def find_next_time(self) -> datetime:
        """Return now, or a second after the newest merge: GitHub's dates have no fractions."""
        now = datetime.now(UTC).replace(microsecond=0)
        newest, queued = self.find_newest_time(), len(self.merge_queue.list_groups())
        return max(now + timedelta(seconds=queued), newest + timedelta(seconds=1 + queued))

    def find_newest_time(self) -> datetime:
        return max(merge.at for merge in self.repository.list_merges().values())
