"""Releases that wait: queued, due, put off, cancelled; a builder's writes are in `claims`."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import takewhile

from sqlalchemy import Select, extract, func, select, update
from sqlalchemy.orm import Session, load_only

from db import check_reports, deployments, newest
from db.claims import MAX_RETRY_DELAY
from db.clock import has_come
from db.models import Release
from db.pull_requests import Accepted
from db.session import notify
from db.stages import fail_open_stages
from db.states import CHANGE_TRIGGERS, RETRAIN_TRIGGERS, Status, Trigger
from db.superseding import end_retrainings
from db.transitions import change_status, update_status

UNFOLLOWED_REASON = "the appliance does not follow this model: name it again, or cancel this release"
MAX_TAGS = 200  # between two polls; older ones are too old to report
IS_DUE = has_come(Release.due_at, MAX_RETRY_DELAY)


def queue_merges(
    session: Session,
    model: str,
    merges: Sequence[Accepted],
    trigger: Trigger = Trigger.MERGE,
    *,
    ends_retrainings: bool = True,
) -> Release | None:
    """Queue the newest of `merges` (newest first, see `newest.sort_merges`) if it has no release.

    Those since the newest one with a release are stored as superseded; those before a model's first
    release are ignored. Several pull requests may have one merge commit: the newest of them counts. It
    `ends_retrainings` of the model, unless it may not touch it at all.
    """
    merges = list({merge.commit: merge for merge in reversed(merges)}.values())[::-1]
    deployments.lock_model(session, model)  # nothing older is requeued meanwhile
    commits = _find_queued_commits(session, model, merges)
    first = not session.scalar(select(_select_changes(model).exists()))
    found = list(takewhile(lambda merge: merge.commit not in commits, merges[:1] if first else merges))
    if found:
        changes = [_from_merge(model, merge, trigger) for merge in found]
        return _queue_newest(session, model, changes, ends_retrainings=ends_retrainings)
    for merge in merges:  # of the same second and older, by its history
        if merge.merged_at == merges[0].merged_at and merge.commit not in commits:
            late = _from_merge(model, merge, trigger)
            change_status(late, Status.SUPERSEDED, f"#{merges[0].number} was merged after it")
            late.finished_at = func.now()
            session.add(late)
    return None


def is_tied(session: Session, model: str, merges: Sequence[Accepted]) -> bool:
    """Return whether one of several merges of the newest second has no release: sort them first."""
    second = newest.commits_of_newest_second(merges)
    return len(second) > 1 and not set(second) <= _find_queued_commits(session, model, merges)


def _select_changes(model: str) -> Select[str]:
    return select(Release.commit).where(Release.model == model, Release.trigger.in_(CHANGE_TRIGGERS))


def _find_queued_commits(session: Session, model: str, merges: Sequence[Accepted]) -> set[str]:
    """Return the commits of these merges that have a release."""
    commits = [merge.commit for merge in merges]
    return set(session.scalars(_select_changes(model).where(Release.commit.in_(commits))))


def _from_merge(model: str, merge: Accepted, trigger: Trigger) -> Release:
    return Release(
        model=model,
        repository=merge.repository,
        commit=merge.commit,
        trigger=trigger,
        status=Status.QUEUED,
        pull_request=merge.number if trigger is Trigger.MERGE else None,
        title=merge.title,
        author=merge.author,
        merged_at=merge.merged_at,
    )


def _queue_newest(
    session: Session, model: str, found: Sequence[Release], *, ends_retrainings: bool
) -> Release:
    """Queue the first of `found`, newest first; the others, and those queued already, are superseded."""
    chosen, *older = found
    reason = f"{newest.describe_arrival(chosen)} after it, before it was begun"
    for release in older:
        change_status(release, Status.SUPERSEDED, reason)
        release.finished_at = func.now()
    supersede_queued(session, model, reason, tags=chosen.trigger is Trigger.TAG)
    if ends_retrainings:
        why = f"{newest.describe_arrival(chosen)} after it, before it was finished"
        end_retrainings(session, model, why)
    for position, release in enumerate(reversed(found), newest.next_position(session, model)):
        release.position = position
        session.add(release)
    session.flush()
    notify(session, "releases", model)
    return chosen


def find_due(session: Session, model: str) -> Release | None:
    """Return the release of `model` that is due and has waited longest; a check if nothing else is due.

    A merge group's goes before a pull request's: GitHub's queue waits for it.
    """
    is_check = Release.trigger == Trigger.CHECK
    return session.scalar(
        select(Release)
        .options(load_only(Release.trigger, Release.model))
        .where(Release.model == model, Release.status == Status.QUEUED, IS_DUE)
        .order_by(is_check, is_check & Release.ref.is_(None), Release.id)
        .limit(1)
    )


def seconds_until_due(session: Session) -> float | None:
    """Return the seconds until the next deferred release is due; due ones only wait for others to end."""
    put_off = (Release.status == Status.QUEUED) & ~IS_DUE
    rest = select(extract("epoch", func.min(Release.due_at) - func.now())).where(put_off)
    return None if (seconds := session.scalar(rest)) is None else float(seconds)


def find_release_trigger(session: Session, model: str) -> str:
    """Return the release trigger in the manifest of the newest examined commit: merge, push or tag."""
    trigger = session.scalar(
        select(Release.release_on)
        .where(Release.model == model, Release.trigger.in_(CHANGE_TRIGGERS), Release.release_on.is_not(None))
        .order_by(Release.id.desc())
        .limit(1)
    )
    return trigger or "merge"


def find_newest_change(session: Session, model: str) -> str | None:
    """Return the commit of the newest merge or push that has a release; None before the first."""
    return session.scalar(_select_changes(model).order_by(Release.position.desc().nulls_last()).limit(1))


def has_change(session: Session, model: str, commit: str) -> bool:
    """Return whether the commit has a release as a merge or push."""
    return bool(session.scalar(select(_select_changes(model).where(Release.commit == commit).exists())))


def queue_tags(
    session: Session,
    model: str,
    repository: str,
    tags: Sequence[tuple[str, str]],
    *,
    ends_retrainings: bool = True,
) -> Release | None:
    """Queue the newest of `tags` (name and commit, newest version first) if it has no release.

    As with merges: those since the newest one with a release are stored as superseded. A deleted tag
    whose release is the baseline or in progress still counts as newer than those of lower versions.
    """
    deployments.lock_model(session, model)  # nothing older is requeued meanwhile
    of_model = select(Release.ref).where(Release.model == model, Release.trigger == Trigger.TAG)
    baseline = deployments.find_baseline(session, model)
    is_on_its_way = Release.status.in_((Status.QUEUED, Status.BUILDING))
    counts = of_model.where(is_on_its_way | (Release.id == (baseline.release_id if baseline else None)))
    gone = {ref for ref in session.scalars(counts) if ref} - {name for name, _ in tags}
    tags = [
        tag for tag in tags if all(newest.parse_version(tag[0]) >= newest.parse_version(ref) for ref in gone)
    ]
    tags = tags[:MAX_TAGS] if session.scalar(select(of_model.exists())) else tags[:1]
    existing = set(session.scalars(of_model.where(Release.ref.in_([name for name, _ in tags]))))
    unknown = list(takewhile(lambda tag: tag[0] not in existing, tags))
    if not unknown:
        return None
    changes = [_from_tag(model, repository, *tag) for tag in unknown]
    return _queue_newest(session, model, changes, ends_retrainings=ends_retrainings)


def _from_tag(model: str, repository: str, name: str, commit: str) -> Release:
    return Release(
        model=model,
        repository=repository,
        commit=commit,
        trigger=Trigger.TAG,
        status=Status.QUEUED,
        ref=name,
        title=name,
    )


def mark_unfollowed(session: Session, models: Sequence[str]) -> Sequence[Release]:
    """Note on queued releases of models not listed why they wait; return those newly noted.

    They stay queued: whoever left a model out by mistake gets its merges when it is named again.
    """
    waits = (Release.status == Status.QUEUED) & Release.model.not_in(models)
    new = waits & Release.reason.is_distinct_from(UNFOLLOWED_REASON)
    return session.scalars(
        update(Release).where(new).values(reason=UNFOLLOWED_REASON).returning(Release)
    ).all()


def defer_build(session: Session, release_id: int, reason: str) -> None:
    """Record why a queued release cannot be started; it is retried after 15 seconds."""
    later = func.now() + timedelta(seconds=15)
    queued = (Release.id == release_id) & (Release.status == Status.QUEUED)
    session.execute(update(Release).where(queued).values(reason=reason, due_at=later))


def supersede_queued(session: Session, model: str, reason: str, *, tags: bool) -> None:
    """Supersede a model's queued changes; tags only with `tags`: a merge may not be released.

    Checks and what a person requested stay queued.
    """
    replaced = (*CHANGE_TRIGGERS, *((Trigger.TAG,) if tags else ()))
    waits = (Release.model == model) & (Release.status == Status.QUEUED) & Release.trigger.in_(replaced)
    session.execute(update_status(Status.SUPERSEDED, finished_at=func.now(), reason=reason).where(waits))


def find_ended(session: Session, release_ids: Sequence[int]) -> Sequence[int]:
    """Return those of these releases that somebody else than their builder has ended."""
    ended = (Release.status == Status.CANCELLED) | (
        (Release.status == Status.SUPERSEDED) & Release.trigger.in_((Trigger.CHECK, *RETRAIN_TRIGGERS))
    )
    return session.scalars(select(Release.id).where(Release.id.in_(release_ids), ended)).all()


def cancel(session: Session, release_id: int, who: str) -> bool:
    """Cancel a queued or building release; its builder loses its claim. Return False when it had ended."""
    cancelled = session.execute(
        update_status(Status.CANCELLED, reason=f"cancelled by {who}", token=None, finished_at=func.now())
        .where(Release.id == release_id, Release.status != Status.CANCELLED)
        .returning(Release.model)
    ).scalar()
    if cancelled is not None:
        fail_open_stages(session, release_id)
        check_reports.report_state(session, release_id)
        notify(session, "releases", cancelled)
    return cancelled is not None


def queue_release(
    session: Session,
    model: str,
    repository: str,
    commit: str,
    trigger: Trigger,
    *,
    who: str | None = None,
    ref: str | None = None,
    title: str | None = None,
    warm_start: int | None = None,
) -> Release:
    """Queue a release that no merge triggered; queued ones stay."""
    release = Release(
        model=model,
        repository=repository,
        commit=commit,
        trigger=trigger,
        status=Status.QUEUED,
        requested_by=who,
        ref=ref,
        title=title,
        warm_start=warm_start,
    )
    session.add(release)
    session.flush()
    notify(session, "releases", model)
    return release
