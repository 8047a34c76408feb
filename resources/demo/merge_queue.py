"""The merge queue of the demo: groups on branches of their own, merged when their status passes.

https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/configuring-pull-request-merges/managing-a-merge-queue
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from resources.demo.github.documents import repository_document, user_document
from resources.demo.github.webhooks import WebhookSender
from resources.demo.github.written import WrittenStates
from resources.demo.pull_requests import Proposal
from resources.demo.repository import DemoRepository

BRANCH = "gh-readonly-queue/main"
NAME = re.compile(rf"{BRANCH}/pr-(\d+)-([0-9a-f]+)")
AddAgain = Callable[[int], object]
GITHUB_ACCOUNT = "github-merge-queue[bot]"


@dataclass(frozen=True)
class QueuedGroup:
    """A group: the merge of a pull request onto `base`, the group before it or the tip of main."""

    number: int
    commit: str
    base: str

    @property
    def branch(self) -> str:
        return f"{BRANCH}/pr-{self.number}-{self.base}"


class MergeQueue:
    """The queue, which is in git alone. The caller holds the repository's lock."""

    def __init__(
        self, repository: DemoRepository, name: str, written: WrittenStates, webhook: WebhookSender
    ) -> None:
        self.repository, self.name, self.written, self.webhook = repository, name, written, webhook

    def list_groups(self) -> list[QueuedGroup]:
        """Return the groups in their order; branches that are on top of none of them are left out."""
        by_base = {group.base: group for group in self.list_branches()}
        found, before = [], self.run_git("rev-parse", "main")
        while group := by_base.pop(before, None):
            found.append(group)
            before = group.commit
        return found

    def list_branches(self) -> list[QueuedGroup]:
        columns = "--format=%(refname:short) %(objectname)"
        lines = self.run_git("for-each-ref", columns, f"refs/heads/{BRANCH}").splitlines()
        named = ((NAME.fullmatch(name), commit) for name, commit in map(str.split, lines))
        return [QueuedGroup(int(name[1]), commit, name[2]) for name, commit in named if name]

    def rebuild(self, add_again: AddAgain) -> None:
        """Make the groups again that main has left behind."""
        stranded = [group for group in self.list_branches() if group not in self.list_groups()]
        self.remove(stranded, "invalidated")
        for group in stranded:
            add_again(group.number)

    def add(self, change: Proposal, at: datetime) -> QueuedGroup:
        """Put a pull request at the end of the queue; raises `ValueError` for one that conflicts."""
        groups = self.list_groups()
        if found := next((group for group in groups if group.number == change.number), None):
            return found
        base = groups[-1].commit if groups else self.run_git("rev-parse", "main")
        try:
            commit = self.repository.merge_onto(change, base, at, f"{BRANCH}/pr-{change.number}-{base}")
        except RuntimeError as error:
            raise ValueError(f"#{change.number} conflicts with what is before it in the queue") from error
        group = QueuedGroup(change.number, commit, base)
        self.send("checks_requested", group)
        return group

    def advance(self, add_again: AddAgain) -> list[int]:
        """Merge the groups whose statuses passed, and take the first that failed out of the queue.

        Return the pull requests that were merged. Those behind one that failed are added again.
        """
        merged = []
        for group in self.list_groups():
            states = {status["state"] for status in self.written.list_statuses(group.commit)}
            if states == {"success"}:
                self.run_git("update-ref", "refs/heads/main", group.commit, group.base)
                self.remove([group], "merged")
                merged.append(group.number)
                continue
            if states & {"failure", "error"}:
                behind = self.list_groups()
                self.remove(behind, "invalidated")
                for other in behind[1:]:
                    add_again(other.number)
            break
        return merged

    def remove(self, groups: Sequence[QueuedGroup], reason: str) -> None:
        for group in groups:
            self.run_git("update-ref", "-d", f"refs/heads/{group.branch}")
            self.send("destroyed", group, reason=reason)

    def send(self, action: str, group: QueuedGroup, **more: str) -> None:
        api = "https://api.github.com"
        self.webhook.send(
            "merge_group",
            {
                "action": action,
                **more,
                "merge_group": self.describe(group),
                "repository": repository_document(self.name, api),
                "sender": user_document(GITHUB_ACCOUNT, api),
            },
        )

    def describe(self, group: QueuedGroup) -> dict[str, Any]:
        """Return a group as GitHub's `merge_group` has it."""
        log = "--format=%T%x00%cI%x00%an%x00%ae%x00%B"
        tree, at, name, email, message = self.run_git("log", "-1", log, group.commit).split("\0", 4)
        person = {"name": name, "email": email}
        return {
            "head_sha": group.commit,
            "head_ref": f"refs/heads/{group.branch}",
            "base_sha": group.base,
            "base_ref": "refs/heads/main",
            "head_commit": {
                "id": group.commit,
                "tree_id": tree,
                "message": message,
                "timestamp": at,
                "author": person,
                "committer": person,
            },
        }

    def run_git(self, *arguments: str) -> str:
        return self.repository.run_git(self.repository.path, *arguments)
