"""Checks: the release of a pull request that is still open, and the approvals that one may need."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, exists, func, select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session, aliased, load_only

from db import check_reports, deployments, pull_requests
from db.deployments import ConflictError
from db.models import Approval, Release
from db.outbox_subjects import CommitOf
from db.session import notify
from db.stages import fail_open_stages
from db.states import Status, Trigger
from db.transitions import change_status
from db.vcs_models import PullRequest

MAX_OPEN = 500  # open pull requests of a branch that are looked at, the newest ones
IS_CHECK = Release.trigger == Trigger.CHECK
IS_OF_PULL = IS_CHECK & Release.ref.is_(None)  # and not of a merge group: see `merge_groups`
IS_ON_ITS_WAY = Release.status.in_((Status.QUEUED, Status.BUILDING))
CLOSED, DRAFT = "the pull request was closed or goes into another branch", "the pull request is a draft"
MERGED = "the pull request was merged: the release of its merge judges it"
# what is read of a check in a list: packages, info and compared predictions may be long
LIST_COLUMNS = (
    Release.id,
    Release.model,
    Release.pull_request,
    Release.commit,
    Release.base,
    Release.status,
    Release.reason,
    Release.metrics,
    Release.verdict,
    Release.artifact,
    Release.pruned_at,
    Release.started_at,
)
CHECKS_OFF = "checks are off for this model"
UNFOLLOWED = "Slipway does not follow this model any more"


@dataclass(frozen=True)
class OpenPullRequest:
    """An open pull request into the model's branch, at its newest head.

    `is_fork` is false only where both ends are known to be the same repository.
    """

    number: int
    title: str | None
    author: str | None
    author_id: int | None
    head: str
    head_owner_id: int | None
    is_draft: bool
    is_fork: bool


@dataclass(frozen=True)
class Trust:
    """The people whose forks are built without approval: author and owner of the fork have to be in it."""

    authors: Collection[int] = ()
    owners: Collection[int] = ()

    def covers(self, pull: OpenPullRequest) -> bool:
        return pull.author_id in self.authors and pull.head_owner_id in self.owners


NOBODY = Trust()


def list_open(session: Session, repository: str, branch: str) -> list[OpenPullRequest]:
    """Return the open pull requests of a branch that have a head, newest first."""
    rows = session.execute(
        select_open(repository, branch).order_by(PullRequest.number.desc()).limit(MAX_OPEN)
    )
    return [to_open(row) for row in rows]


def to_open(row: Row[*tuple[Any, ...]]) -> OpenPullRequest:
    """Return a row of `select_open`."""
    return OpenPullRequest(
        row.number,
        row.title,
        row.user_login,
        row.user_id,
        row.head_sha,
        row.head_owner_id,
        bool(row.draft),
        row.head_repository_id is None or row.head_repository_id != row.base_repository_id,
    )


def select_open(repository: str, branch: str) -> Select[*tuple[Any, ...]]:
    """Select only the columns that `watch` and `serve` may read."""
    pull = PullRequest
    who = (pull.user_login, pull.user_id, pull.head_owner_id)
    ends = (pull.head_sha, pull.draft, pull.head_repository_id, pull.base_repository_id)
    is_open = (pull.state == "open") & pull.head_sha.is_not(None)
    chosen = select(pull.number, pull.title, *who, *ends)
    return chosen.where(pull.repository == repository, pull.base_ref == branch, is_open)


def queue_checks(
    session: Session, model: str, repository: str, branch: str, trust: Trust = NOBODY
) -> list[Release]:
    """Queue a check of each open pull request whose newest head has none; end those that nobody waits for.

    One from another repository is queued only when its head was approved, or its people are trusted.
    """
    deployments.lock_model(session, model)
    pulls = list_open(session, repository, branch)
    newest = find_newest(session, model, [pull.number for pull in pulls])
    _end_unwanted(session, model, repository, branch, pulls)
    approved = list_approved(session, model)
    unchecked = [pull for pull in reversed(pulls) if not has_check(newest.get(pull.number), pull)]
    unbuilt = [pull for pull in unchecked if pull.is_draft or needs_approval(pull, trust, approved)]
    numbers = {pull.number for pull in unbuilt}
    queued = [to_check(model, repository, pull) for pull in unchecked if pull.number not in numbers]
    session.add_all(queued)
    session.flush()
    for check in queued:
        check_reports.report_state(session, check.id)
    heads = {check.commit for check in (*newest.values(), *queued) if check.status is not Status.SUPERSEDED}
    _report_unbuilt(session, model, repository, [pull for pull in unbuilt if pull.head not in heads])
    if queued:
        notify(session, "releases", model)
    return queued


def _report_unbuilt(session: Session, model: str, repository: str, pulls: Sequence[OpenPullRequest]) -> None:
    """Have GitHub show why heads are not built that have no check of any pull request."""
    for pull in pulls:
        head = CommitOf(repository=repository, commit=pull.head, model=model)
        if pull.is_draft:
            check_reports.report_draft(session, head)
        else:
            check_reports.report_waiting(session, head, pull.number)


def has_check(newest: Release | None, pull: OpenPullRequest) -> bool:
    """Return whether the head of a pull request needs no other check than its newest one.

    A check that was ended because the pull request was a draft, or closed, is made again.
    """
    return newest is not None and newest.commit == pull.head and newest.status is not Status.SUPERSEDED


def to_check(model: str, repository: str, pull: OpenPullRequest) -> Release:
    """Return a new check of a pull request's head, which waits to be built."""
    return Release(
        model=model,
        repository=repository,
        commit=pull.head,
        trigger=Trigger.CHECK,
        status=Status.QUEUED,
        pull_request=pull.number,
        title=pull.title,
        author=pull.author,
        is_fork=pull.is_fork,
    )


def find_newest(session: Session, model: str, numbers: Sequence[int]) -> dict[int, Release]:
    """Return the newest check of each of these pull requests, with `LIST_COLUMNS` alone."""
    of_model = (Release.model == model) & IS_OF_PULL & Release.pull_request.in_(numbers)
    found = session.scalars(
        select(Release)
        .options(load_only(*LIST_COLUMNS))
        .where(of_model)
        .ext(distinct_on(Release.pull_request))
        .order_by(Release.pull_request, Release.id.desc())
    )
    return {release.pull_request: release for release in found if release.pull_request is not None}


def _end_unwanted(
    session: Session, model: str, repository: str, branch: str, pulls: Sequence[OpenPullRequest]
) -> None:
    """End the checks on their way of pull requests that are closed or drafts, or have a newer head."""
    wanted = {pull.number: pull for pull in pulls}
    waiting = select(Release).where(Release.model == model, IS_OF_PULL, IS_ON_ITS_WAY).with_for_update()
    for check in session.scalars(waiting):
        number = check.pull_request or 0
        pull = wanted.get(number)
        if pull is None:
            is_merged = pull_requests.is_merged(session, repository, branch, number)
            end_check(session, check, MERGED if is_merged else CLOSED)
        elif pull.is_draft:
            end_check(session, check, DRAFT)
        elif check.commit != pull.head:
            end_check(session, check, f"{pull.head[:8]} was pushed after it")


def end_checks(session: Session, model: str, reason: str) -> None:
    """End all checks of a model that are on their way."""
    deployments.lock_model(session, model)
    waiting = select(Release).where(Release.model == model, IS_CHECK, IS_ON_ITS_WAY).with_for_update()
    for check in session.scalars(waiting):
        end_check(session, check, reason)


def end_unfollowed(session: Session, models: Collection[str]) -> None:
    """End the checks that are on their way of models not listed: nobody builds them."""
    waiting = select(Release.model).where(IS_CHECK, IS_ON_ITS_WAY, Release.model.not_in(models)).distinct()
    for model in sorted(session.scalars(waiting)):
        end_checks(session, model, UNFOLLOWED)


def end_check(session: Session, check: Release, reason: str) -> None:
    """End a check that nobody waits for; its builder loses its claim. The caller holds the lock."""
    change_status(check, Status.SUPERSEDED, reason)
    check.token, check.finished_at = None, func.now()
    session.flush()
    fail_open_stages(session, check.id)
    check_reports.report_state(session, check.id)
    notify(session, "releases", check.model)


def queue_again(
    session: Session,
    model: str,
    repository: str,
    pull: OpenPullRequest,
    trust: Trust = NOBODY,
    *,
    who: str | None = None,
) -> Release | None:
    """Queue another check of a head; None where one is on its way, or it may not be built.

    `who` is the person who asked for it.
    """
    deployments.lock_model(session, model)
    last = find_newest(session, model, [pull.number]).get(pull.number)
    if last is not None and not last.status.has_ended:
        return None
    if pull.is_draft or needs_approval(pull, trust, list_approved(session, model)):
        return None
    check = to_check(model, repository, pull)
    check.requested_by = who
    session.add(check)
    session.flush()
    check_reports.report_state(session, check.id)
    notify(session, "releases", model)
    return check


def approve(
    session: Session, model: str, number: int, head: str, *, pulls: Sequence[OpenPullRequest], who: str
) -> None:
    """Approve one head of a pull request; raises `ConflictError` when it is not its newest one any more."""
    found = next((pull for pull in pulls if pull.number == number), None)
    if found is None or found.head != head:
        raise ConflictError
    approval = insert(Approval).values(model=model, pull_request=number, head=head, who=who)
    session.execute(approval.on_conflict_do_nothing())
    notify(session, "releases", model)


def list_approved(session: Session, model: str) -> set[tuple[int, str]]:
    """Return number and head of each approval."""
    rows = session.execute(select(Approval.pull_request, Approval.head).where(Approval.model == model))
    return {(number, head) for number, head in rows}


def needs_approval(pull: OpenPullRequest, trust: Trust, approved: Collection[tuple[int, str]]) -> bool:
    """Return whether the head of a pull request is built only after an operator has approved it."""
    return pull.is_fork and not trust.covers(pull) and (pull.number, pull.head) not in approved


def find_reusable(session: Session, release: Release, files: str) -> Release | None:
    """Return the newest check of these files that passed and whose trained model is still there."""
    same = (Release.model == release.model) & (Release.files == files) & (Release.status == Status.CHECKED)
    return session.scalar(
        select(Release)
        .where(same, IS_CHECK, Release.artifact.is_not(None), Release.pruned_at.is_(None))
        .order_by(Release.id.desc())
        .limit(1)
    )


def find_last_passed(session: Session, release: Release) -> Release | None:
    """Return the newest check of a change's pull request that passed, of whichever files."""
    of_pull = (Release.model == release.model) & (Release.pull_request == release.pull_request)
    passed = select(Release).where(of_pull, IS_OF_PULL, Release.status == Status.CHECKED)
    return session.scalar(passed.order_by(Release.id.desc()).limit(1))


def prune_checks(session: Session, model: str, open_numbers: Collection[int]) -> Sequence[Release]:
    """Mark the checks of pull requests whose files nobody needs as pruned, and return them.

    Needed are the newest check of each open pull request, and of all while a change waits or is built: it may
    take over what a check has trained.
    """
    deployments.lock_model(session, model)
    newer = aliased(Release)
    is_newest = ~exists().where(
        newer.model == Release.model,
        newer.pull_request == Release.pull_request,
        newer.trigger == Trigger.CHECK,
        newer.ref.is_(None),
        newer.id > Release.id,
    )
    changes = (Release.model == model) & ~IS_CHECK & IS_ON_ITS_WAY
    if session.scalar(select(exists().where(changes))):
        is_needed: ColumnElement[bool] = is_newest
    else:
        is_needed = is_newest & Release.pull_request.in_(open_numbers)
    spare = select(Release).where(Release.model == model, IS_OF_PULL, ~IS_ON_ITS_WAY, ~is_needed)
    spare = spare.where(Release.artifact.is_not(None), Release.pruned_at.is_(None))
    found = session.scalars(spare.options(load_only(Release.id, Release.model))).all()
    for check in found:
        check.pruned_at = func.now()
    session.flush()
    return found
