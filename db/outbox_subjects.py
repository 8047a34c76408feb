"""What the outbox calls a release by: its commit, and the comment of its pull request."""

from typing import TypedDict

from db.models import Release


class CommitOf(TypedDict):
    """A commit of a model's repository; arguments of `put_status`, `put_check_run` and `put_deployment`."""

    repository: str
    commit: str
    model: str


class CommentOf(TypedDict):
    """A pull request's comment on a model; arguments of `put_comment` and `put_comment_note`."""

    repository: str
    number: int
    model: str


def name_commit(release: Release) -> CommitOf:
    return CommitOf(repository=release.repository, commit=release.commit, model=release.model)


def name_comment(release: Release) -> CommentOf | None:
    """Return the comment of a release's pull request; None where it has none."""
    if release.pull_request is None:
        return None
    return CommentOf(repository=release.repository, number=release.pull_request, model=release.model)
