"""Checks of merge groups: the commits that GitHub's merge queue is about to make a branch's tip."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, load_only

from db import check_reports, checks, deployments
from db.checks import IS_CHECK, IS_ON_ITS_WAY, OpenPullRequest, Trust
from db.models import Release
from db.outbox_subjects import CommitOf
from db.session import notify
from db.states import Status
from db.transitions import change_status
from db.vcs_models import MergeQueue, PullRequest

IS_GROUP = IS_CHECK & Release.ref.is_not(None)
HAS_FILES = (
    Release.status.in_((Status.CHECKED, Status.REJECTED))
    & Release.artifact.is_not(None)
    & Release.pruned_at.is_(None)
)
GONE = "GitHub's merge queue has no such group any more"
MOVED = "the branch has moved on since this group was made: GitHub makes another one"
UNPROVEN = (
    "its files are not those of the pull requests in the queue: remove them from it, and add them again"
)
WAITING = "{} in it comes from another repository, and waits for an operator: slipway approve {}"


@dataclass(frozen=True)
class MergeGroup:
    """A commit that holds a pull request, those before it in the queue, and the branch's tip."""

    ref: str  # the name of its branch
    commit: str
    number: int  # of the last pull request in it


@dataclass(frozen=True)
class QueueListing:
    """The merge groups of a branch, and that branch's tip."""

    tip: str | None
    groups: Sequence[MergeGroup]


NO_QUEUE = QueueListing(None, ())


@dataclass(frozen=True)
class ExaminedGroup:
    """A merge group whose commit was fetched.

    `members` are numbers and heads of the pull requests that, merged onto the tip, give exactly its files;
    None where they do not. Then what is stored of pull requests may only be older than a recent group.
    """

    group: MergeGroup
    tree: str
    base: str
    is_on_tip: bool
    is_recent: bool
    members: tuple[tuple[int, str], ...] | None

    @property
    def numbers(self) -> set[int]:
        return {self.group.number, *(number for number, _ in self.members or ())}


@dataclass(frozen=True)
class QueueUse:
    """The stored state of a model's merge queue."""

    told_at: datetime | None  # when GitHub's last webhook of it came
    has_checks: bool  # that wait, run or have files
    is_known: bool  # it has had a group
    has_open: bool  # pull requests, without which there is no group


def record_event(session: Session, repository: str) -> None:
    """Store that GitHub reported a change of a repository's merge queue, and wake the controller."""
    told = insert(MergeQueue).values(repository=repository, told_at=func.clock_timestamp())
    session.execute(
        told.on_conflict_do_update(index_elements=["repository"], set_={"told_at": told.excluded.told_at})
    )
    notify(session, "pull_requests", repository)


def find_use(session: Session, model: str, repository: str, branch: str) -> QueueUse:
    """Return what is stored of a model's merge queue, by one query."""
    of_model = (Release.model == model) & IS_GROUP
    row = session.execute(
        select(
            select(MergeQueue.told_at).where(MergeQueue.repository == repository).scalar_subquery(),
            exists().where(of_model, IS_ON_ITS_WAY | HAS_FILES),
            exists().where(of_model),
            checks.select_open(repository, branch).exists(),
        )
    ).one()
    return QueueUse(*row)


def find_pulls(
    session: Session, repository: str, branch: str, numbers: Collection[int]
) -> dict[int, OpenPullRequest]:
    """Return those of these pull requests that are open."""
    rows = session.execute(
        checks.select_open(repository, branch).where(PullRequest.number.in_(numbers))
    ).all()
    return {row.number: checks.to_open(row) for row in rows}


def find_new(session: Session, model: str, groups: Sequence[MergeGroup]) -> list[MergeGroup]:
    """Return the groups that have no check."""
    commits = [group.commit for group in groups]
    rows = session.execute(
        select(Release.ref, Release.commit).where(
            Release.model == model,
            IS_GROUP,
            Release.commit.in_(commits),
            Release.status != Status.SUPERSEDED,
        )
    )
    checked = {(ref, commit) for ref, commit in rows}
    return [group for group in groups if (group.ref, group.commit) not in checked]


def end_gone(session: Session, model: str, listing: QueueListing) -> None:
    """End the checks of groups that the queue has no more, and mark their files as pruned.

    The files of a group that has become the branch's tip stay until its change was built: that takes over
    what the group has trained.
    """
    deployments.lock_model(session, model)
    listed = {(group.ref, group.commit) for group in listing.groups}
    columns = (*checks.LIST_COLUMNS, Release.ref)
    of_model = select(Release).options(load_only(*columns)).where(Release.model == model, IS_GROUP)
    is_changing = has_change(session, model)
    for check in session.scalars(of_model.where(IS_ON_ITS_WAY | HAS_FILES)).all():
        if (check.ref, check.commit) in listed:
            continue
        if not check.status.has_ended:
            checks.end_check(session, check, GONE)
        elif not is_changing and (
            check.commit != listing.tip or has_change(session, model, of_commit=check.commit)
        ):
            check.pruned_at = func.now()


def has_change(session: Session, model: str, of_commit: str | None = None) -> bool:
    """Return whether a change of a model waits or is built, or whether this commit has had a release."""
    is_meant = IS_ON_ITS_WAY if of_commit is None else Release.commit == of_commit
    return bool(session.scalar(select(exists().where(Release.model == model, ~IS_CHECK, is_meant))))


def queue_groups(
    session: Session,
    model: str,
    examined: Sequence[ExaminedGroup],
    *,
    repository: str,
    branch: str,
    trust: Trust,
) -> list[Release]:
    """Store a check of each group, and return those that were queued.

    One whose files were checked has that verdict at once. One that may hold what an operator has not
    approved is not built, and GitHub is told why.
    """
    deployments.lock_model(session, model)
    pulls = find_pulls(session, repository, branch, {number for each in examined for number in each.numbers})
    approved = checks.list_approved(session, model)
    new = find_new(session, model, [each.group for each in examined])
    queued = []
    for each in examined:
        if each.group not in new or not is_up_to_date(each, pulls):
            continue
        stored = to_queued(model, repository, each, pulls)
        if (same := find_checked(session, model, each.tree)) is not None:
            copy_verdict(stored, same)
        elif refusal := explain_refusal(each, pulls, trust, approved):
            if not (refusal == UNPROVEN and each.is_recent):
                commit = CommitOf(repository=repository, commit=each.group.commit, model=model)
                check_reports.report_refused(session, commit, refusal)
            continue
        else:
            queued.append(stored)
        session.add(stored)
        session.flush()
        check_reports.report_state(session, stored.id)
    if queued:
        notify(session, "releases", model)
    return queued


def is_up_to_date(examined: ExaminedGroup, pulls: Mapping[int, OpenPullRequest]) -> bool:
    """Return whether the pull requests of a group are open, and at the heads that it was examined with."""
    return examined.numbers <= set(pulls) and all(
        pulls[number].head == head for number, head in examined.members or ()
    )


def explain_refusal(
    examined: ExaminedGroup,
    pulls: Mapping[int, OpenPullRequest],
    trust: Trust,
    approved: Collection[tuple[int, str]],
) -> str | None:
    """Return why a group is not built; None where it is.

    One whose files cannot be made of pull requests may hold what nobody has approved.
    """
    if not examined.is_on_tip:
        return MOVED
    if examined.members is None:
        return UNPROVEN
    for number, _ in examined.members:
        if checks.needs_approval(pulls[number], trust, approved):
            return WAITING.format(f"#{number}", number)
    return None


def find_checked(session: Session, model: str, tree: str) -> Release | None:
    """Return the newest check of these files that passed."""
    same = (Release.model == model) & (Release.tree == tree) & (Release.status == Status.CHECKED)
    return session.scalar(select(Release).where(same, IS_CHECK).order_by(Release.id.desc()).limit(1))


def to_queued(
    model: str, repository: str, examined: ExaminedGroup, pulls: Mapping[int, OpenPullRequest]
) -> Release:
    group = examined.group
    is_fork = any(pulls[number].is_fork for number, _ in examined.members or ())
    check = checks.to_check(
        model, repository, replace(pulls[group.number], head=group.commit, is_fork=is_fork)
    )
    check.ref, check.base, check.tree = group.ref, examined.base, examined.tree
    return check


def copy_verdict(group: Release, same: Release) -> None:
    """Give the check of a group the verdict of that of the same files; it has no files of its own."""
    change_status(group, Status.CHECKED, f"its files are those of check {same.id}")
    group.is_fork, group.finished_at = same.is_fork, func.now()
    for name in ("entry_point", "kind", "info", "metrics", "data", "verdict", "differences"):
        setattr(group, name, getattr(same, name))
    group.trained_by = same.trained_by or same.id


def reuse_checks(session: Session, model: str) -> None:
    """Give groups that wait to be built the verdict of a check of their files that has passed since."""
    deployments.lock_model(session, model)
    is_waiting = (Release.model == model) & IS_GROUP & (Release.status == Status.QUEUED)
    for group in session.scalars(select(Release).where(is_waiting).with_for_update()).all():
        same = find_checked(session, model, group.tree) if group.tree else None
        if same is not None:
            copy_verdict(group, same)
            session.flush()
            check_reports.report_state(session, group.id)
