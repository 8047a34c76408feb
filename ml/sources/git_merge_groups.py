"""The merge groups of GitHub's merge queue: which there are, and which pull requests are in each.

GitHub puts each on a branch of its own, `gh-readonly-queue/<branch>/pr-<number>-<commit>`:
https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/configuring-pull-request-merges/managing-a-merge-queue
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import git

from common.errors import RejectedError
from common.git_login import login_environment, strip_login
from common.system import filelock
from db.merge_groups import ExaminedGroup, MergeGroup, QueueListing
from ml.settings import ModelConfig
from ml.sources.git_checkout import COMMIT_PATTERN, has_commit
from ml.sources.git_export import export_model
from ml.sources.git_merge import (
    BASE_FOLDER,
    BASE_REF,
    MergeConflictError,
    MergedTree,
    describe_merge,
    explain_failure,
    export_manifest,
    fetch_ends,
    limit_fetch,
    log_merged,
    merge_trees,
    open_small_clone,
)
from ml.sources.git_server import FETCH_COMMAND, list_refs, run_git, to_unavailable_error
from ml.stage_log import LogLine

QUEUE = "gh-readonly-queue"
HEADS = "refs/heads/"
MAX_GROUPS = 100  # GitHub builds at most that many of a queue at once
MAX_COMMITS = 1000  # between two groups: those of one pull request
# since a group was made, by GitHub's clock, which may be ahead: a sync may not have all of its pull requests
RECENT_SECONDS = 180.0
GROUP_NAME = re.compile(r"pr-([1-9][0-9]{0,8})-[0-9a-f]{40}([0-9a-f]{24})?", re.ASCII)


def list_merge_groups(model: ModelConfig, *, token: str = "", host: str = "github.com") -> QueueListing:
    """Return the merge groups of the model's branch, and its tip; raises `UnavailableError`."""
    answer = list_refs(model, *list_patterns(model.branch), token=token, host=host)
    return parse_merge_groups(answer, model.branch)


def list_patterns(branch: str) -> tuple[str, str]:
    """Return what `git ls-remote` has to list: the branch, and its queue."""
    return f"{HEADS}{branch}", f"{HEADS}{QUEUE}/{branch}/*"


def parse_merge_groups(answer: str, branch: str) -> QueueListing:
    """Return the merge groups that `git ls-remote` lists; other branches that match are left out.

    Anybody who may push can make a branch below the queue, and git's pattern matches the end of longer names.
    """
    prefix, tip, found = f"{HEADS}{QUEUE}/{branch}/", None, set()
    for line in answer.splitlines():
        commit, _, ref = line.partition("\t")
        if not COMMIT_PATTERN.fullmatch(commit):
            continue
        if ref == f"{HEADS}{branch}":
            tip = commit
        elif ref.startswith(prefix) and (name := GROUP_NAME.fullmatch(ref.removeprefix(prefix))):
            found.add(MergeGroup(ref.removeprefix(HEADS), commit, int(name[1])))
    return QueueListing(tip, sorted(found, key=lambda group: (group.number, group.ref))[:MAX_GROUPS])


def examine_groups(
    model: ModelConfig,
    listing: QueueListing,
    wanted: Sequence[MergeGroup],
    heads: Mapping[int, str],
    *,
    clone: Path,
    token: str = "",
    host: str = "github.com",
) -> list[ExaminedGroup]:
    """Return what is in each group `wanted`; `heads` are those of the pull requests that are open.

    Left out are groups that were merged by now, and those with a pull request that is not among `heads`.
    Raises `UnavailableError`.
    """
    if listing.tip is None:
        return []
    try:
        with open_clone(model, clone, token, host) as repository:
            fetch_commits(repository, model, [listing.tip, *(group.commit for group in listing.groups)])
            for number in {group.number for group in listing.groups} & set(heads):
                fetch_head(repository, model, heads[number], number)
            history = QueueHistory(repository, listing.tip, listing.groups, heads)
            return [found for group in wanted if (found := history.examine(group)) is not None]
    except git.GitCommandError as failure:
        raise to_unavailable_error(model, failure) from failure


@contextmanager
def open_clone(model: ModelConfig, clone: Path, token: str, host: str) -> Iterator[git.Repo]:
    """Yield our clone for merges, locked, with the login of its server."""
    with filelock.acquire(clone.with_suffix(".lock")):
        repository = open_small_clone(clone)
        with repository.git.custom_environment(
            **login_environment(model.clone_url, token, host), **limit_fetch()
        ):
            yield repository


def fetch_commits(repository: git.Repo, model: ModelConfig, commits: Sequence[str]) -> None:
    """Fetch those of the commits that our clone lacks, with all of their history."""
    missing = [commit for commit in dict.fromkeys(commits) if not has_commit(repository, commit)]
    if missing:
        branch = f"+{HEADS}{model.branch}:{BASE_REF}"
        run_git(repository.git, *FETCH_COMMAND, "--", strip_login(model.clone_url), branch, *missing)


def fetch_head(repository: git.Repo, model: ModelConfig, head: str, number: int) -> None:
    """Fetch the head of a pull request where our clone lacks it and the server still has it."""
    if COMMIT_PATTERN.fullmatch(head) and not has_commit(repository, head):
        try:
            fetch_ends(repository, model, head, number)
        except RejectedError:
            """It is gone: then no group is proven to be of it."""


@dataclass(frozen=True)
class QueueHistory:
    """The history of a queue's groups: each is on top of the one before it, the first on the branch's tip."""

    repository: git.Repo
    tip: str
    groups: Sequence[MergeGroup]
    heads: Mapping[int, str]

    def examine(self, group: MergeGroup) -> ExaminedGroup | None:
        """Return what is in a group; None where it was merged, or has a pull request without a known head."""
        if self.is_ancestor(group.commit, self.tip):
            return None
        is_on_tip = self.is_ancestor(self.tip, group.commit)
        chain = self.list_chain(group) if is_on_tip else []
        if not {member.number for member in chain} <= set(self.heads):
            return None
        members = tuple((member.number, self.heads[member.number]) for member in chain)
        age = time.time() - self.repository.commit(group.commit).committed_date
        return ExaminedGroup(
            group,
            self.read_tree(group.commit),
            self.tip,
            is_on_tip,
            is_recent=abs(age) < RECENT_SECONDS,
            members=members if is_on_tip and self.is_proven(chain) else None,
        )

    def list_chain(self, group: MergeGroup) -> list[MergeGroup]:
        """Return the groups that this one is made of, itself last."""
        options = ("--first-parent", f"--max-count={MAX_COMMITS * len(self.groups)}")
        commits = self.repository.git.rev_list(*options, group.commit, f"^{self.tip}", "--").split()
        by_commit = {other.commit: other for other in self.groups} | {group.commit: group}
        return [by_commit[commit] for commit in reversed(commits) if commit in by_commit]

    def is_proven(self, chain: Sequence[MergeGroup]) -> bool:
        """Return whether our own merge of each head onto what is before it gives the files of each group."""
        before = self.tip
        for group in chain:
            try:
                merged = merge_trees(self.repository, before, self.heads[group.number])
            except (MergeConflictError, git.GitCommandError):
                return False
            if merged != self.read_tree(group.commit):
                return False
            before = group.commit
        return True

    def is_ancestor(self, commit: str, of: str) -> bool:
        return bool(self.repository.is_ancestor(self.repository.commit(commit), self.repository.commit(of)))

    def read_tree(self, commit: str) -> str:
        return str(self.repository.git.rev_parse("--verify", f"{commit}^{{tree}}"))


def checkout_group(
    model: ModelConfig,
    commit: str,
    *,
    base: str,
    clone: Path,
    into: Path,
    token: str = "",
    host: str = "github.com",
    log_line: LogLine,
) -> MergedTree:
    """Export the files of a merge group as GitHub has merged them, and the manifest of `base`.

    Raises `RejectedError` for what is too large, `UnavailableError` while it cannot be fetched.
    """
    if not COMMIT_PATTERN.fullmatch(commit):
        raise RejectedError(f"{commit[:100]!r} is not the id of a commit")
    try:
        with open_clone(model, clone, token, host) as repository:
            fetch_commits(repository, model, [base, commit])
            tree = str(repository.git.rev_parse("--verify", f"{commit}^{{tree}}"))
            merged = describe_merge(repository, model, tree, base)
            files, size = export_model(repository, tree, model, into)
            export_manifest(repository, base, model, into.with_name(BASE_FOLDER))
    except git.GitCommandError as failure:
        raise explain_failure(model, failure, clone, commit) from failure
    log_merged(log_line, commit, base, files, size)
    return merged
