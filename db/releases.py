"""Releases: what is queued, due, kept and shown; what a builder does with one is in `claims`."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import Text, func, select, true, update
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session, aliased, defer, load_only, selectinload

from db import deployments
from db.models import Outcome, Release, Stage, Status, Trigger
from db.pull_requests import Accepted
from db.session import notify


def queue_merges(session: Session, model: str, merges: Sequence[Accepted]) -> Release | None:
    """Queue the newest of `merges` (newest first) when it is unknown.

    Those that came since the newest known one are kept as superseded; what a model had before its first
    release is not looked at.
    """
    known = select(Release.commit).where(Release.model == model, Release.trigger == Trigger.MERGE)
    commits = set(session.scalars(known.where(Release.commit.in_([m.commit for m in merges]))))
    if not merges or merges[0].commit in commits:
        return None
    first = session.scalar(select(func.count()).select_from(known.subquery())) == 0
    unknown = []
    for merge in merges[:1] if first else merges:
        if merge.commit in commits:
            break
        unknown.append(merge)

    newest, *older = [_from_merge(model, merge) for merge in unknown]
    reason = f"#{newest.pull_request} was merged after it, before it was begun"
    for release in older:
        release.status, release.finished_at, release.reason = Status.SUPERSEDED, func.now(), reason
    supersede(session, model, reason)
    session.add_all([*reversed(older), newest])
    session.flush()
    notify(session, "releases", model)
    return newest


def _from_merge(model: str, merge: Accepted) -> Release:
    return Release(
        model=model,
        repository=merge.repository,
        commit=merge.commit,
        trigger=Trigger.MERGE,
        status=Status.QUEUED,
        pull_request=merge.number,
        title=merge.title,
        author=merge.author,
        merged_at=merge.merged_at,
    )


def due(session: Session, model: str) -> int | None:
    """The release of `model` that has waited longest to be built and whose time has come."""
    return session.scalar(
        select(Release.id)
        .where(Release.model == model, Release.status == Status.QUEUED, Release.due_at <= func.now())
        .order_by(Release.id)
        .limit(1)
    )


def next_due_at(session: Session) -> datetime | None:
    """When the next waiting release is due, for a look-out that wants to sleep until then."""
    return session.scalar(select(func.min(Release.due_at)).where(Release.status == Status.QUEUED))


def releases_on(session: Session, model: str) -> str:
    """What the newest merge that was looked into says releases this model: `merge` or `tag`."""
    said = session.scalar(
        select(Release.release_on)
        .where(Release.model == model, Release.trigger == Trigger.MERGE, Release.release_on.is_not(None))
        .order_by(Release.id.desc())
        .limit(1)
    )
    return said or "merge"


def queue_tags(
    session: Session, model: str, repository: str, tags: Sequence[tuple[str, str]]
) -> Release | None:
    """Queue the newest of `tags` (name and commit, newest version first) when it is unknown.

    As with merges: those between it and the newest known one are kept as superseded.
    """
    known = set(
        session.scalars(select(Release.ref).where(Release.model == model, Release.trigger == Trigger.TAG))
    )
    unknown = list(takewhile(lambda tag: tag[0] not in known, tags if known else tags[:1]))
    if not unknown:
        return None
    newest = unknown[0][0]
    supersede(session, model, f"{newest} was tagged after it, before it was begun")
    for name, commit in reversed(unknown[1:]):
        skipped = queue(session, model, repository, commit, Trigger.TAG, ref=name, title=name)
        skipped.status, skipped.finished_at = Status.SUPERSEDED, func.now()
        skipped.reason = f"{newest} was tagged after it, before it was begun"
    return queue(session, model, repository, unknown[0][1], Trigger.TAG, ref=newest, title=newest)


def put_off(session: Session, release_id: int, reason: str) -> None:
    """Say why a queued release cannot be begun; it is tried again in a moment."""
    later = func.now() + timedelta(seconds=15)
    queued = (Release.id == release_id) & (Release.status == Status.QUEUED)
    session.execute(update(Release).where(queued).values(reason=reason, due_at=later))


def supersede(session: Session, model: str, reason: str) -> None:
    """What waits of a model will not be built."""
    session.execute(
        update(Release)
        .where(Release.model == model, Release.status == Status.QUEUED)
        .values(status=Status.SUPERSEDED, finished_at=func.now(), reason=reason)
    )


def cancelled(session: Session, release_ids: Sequence[int]) -> Sequence[int]:
    """Those of these releases that were cancelled."""
    return session.scalars(
        select(Release.id).where(Release.id.in_(release_ids), Release.status == Status.CANCELLED)
    ).all()


def kept(session: Session) -> Sequence[Release]:
    """Releases whose files are needed: on their way, or built and not pruned."""
    on_its_way = Release.status.in_((Status.QUEUED, Status.BUILDING))
    unpruned = Release.artifact.is_not(None) & Release.pruned_at.is_(None)
    built = Release.status.in_((Status.PASSED, Status.DEPLOYED)) & unpruned
    return session.scalars(select(Release).where(on_its_way | built)).all()


def building(session: Session) -> Sequence[Release]:
    return session.scalars(select(Release).where(Release.status == Status.BUILDING)).all()


def cancel(session: Session, release_id: int, who: str) -> bool:
    """End a release that is queued or building; its builder finds its claim gone. False when it had ended."""
    cancelled = session.execute(
        update(Release)
        .where(Release.id == release_id, Release.status.in_((Status.QUEUED, Status.BUILDING)))
        .values(status=Status.CANCELLED, reason=f"cancelled by {who}", token=None, finished_at=func.now())
        .returning(Release.model)
    ).scalar()
    if cancelled is not None:
        session.execute(
            update(Stage)
            .where(Stage.release_id == release_id, Stage.outcome == Outcome.RUNNING)
            .values(outcome=Outcome.FAILED, ended_at=func.clock_timestamp())
        )
        notify(session, "releases", cancelled)
    return cancelled is not None


def queue(
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
    """Queue a release that no merge asked for; those that wait already stay."""
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


def prune(session: Session, model: str, keep: int) -> Sequence[Release]:
    """Mark all but the newest `keep` artifacts of a model as pruned; the files may go once this is committed.

    Never the live release's, nor the one before it, nor one that is wanted or that a release on its way
    starts from. Gives those marked now.
    """
    deployments.lock(session, model)
    live = deployments.live(session, model)
    needed = {live.release_id} if live else set()
    if live and (previous := deployments.before(session, live)):
        needed.add(previous.id)
    if wanted := deployments.wanted(session, model):
        needed.add(wanted.release_id)
    on_its_way = Release.status.in_((Status.QUEUED, Status.BUILDING))
    needed |= {id_ for id_ in session.scalars(select(Release.warm_start).where(on_its_way)) if id_}
    built = select(Release).where(
        Release.model == model, Release.artifact.is_not(None), Release.pruned_at.is_(None), ~on_its_way
    )
    spare = [r for r in session.scalars(built.order_by(Release.id.desc()).offset(keep)) if r.id not in needed]
    for release in spare:
        release.pruned_at = func.now()
    session.flush()
    return spare


def known(session: Session, release_id: int) -> dict[str, Any]:
    """What a release's predictions are shown beside: `history` or `target`, where the model says them."""
    return session.scalar(select(Release.known).where(Release.id == release_id)) or {}


def find(session: Session, release_id: int) -> Release | None:
    """A release with its stages."""
    return session.get(Release, release_id, options=[selectinload(Release.stages)], populate_existing=True)


def merge_of(session: Session, release: Release) -> Release | None:
    """The release that the merge of this one's commit made; None where that is this one, or there is none."""
    return session.scalar(
        select(Release)
        .where(Release.model == release.model, Release.commit == release.commit, Release.id != release.id)
        .where(Release.trigger == Trigger.MERGE)
    )


def history(session: Session, model: str | None = None, limit: int = 50) -> Sequence[Release]:
    """Releases, newest first, without what is long and not in a list."""
    long = (defer(Release.lock, raiseload=True), defer(Release.differences, raiseload=True))
    query = select(Release).options(*long).order_by(Release.id.desc()).limit(limit)
    if model is not None:
        query = query.where(Release.model == model)
    return session.scalars(query).all()


def newest_of_each(session: Session, models: Sequence[str], limit: int) -> dict[str, list[Release]]:
    """The newest releases of each of these models, newest first, with no more than a page says of them."""
    each = func.unnest(array(models, type_=Text)).table_valued("model")
    of_model = aliased(Release)
    ids = select(of_model.id).where(of_model.model == each.c.model)
    newest = ids.order_by(of_model.id.desc()).limit(limit).lateral()
    said = (Release.model, Release.commit, Release.pull_request, Release.title, Release.status)
    rows = session.scalars(
        select(Release)
        .select_from(each.join(newest, true()).join(Release, Release.id == newest.c.id))
        .options(load_only(*said, Release.reason, Release.metrics, Release.hold, Release.finished_at))
        .order_by(Release.id.desc())
    )
    found: dict[str, list[Release]] = {model: [] for model in models}
    for release in rows:
        found[release.model].append(release)
    return found


def commits(session: Session, model: str, limit: int) -> Sequence[str]:
    """The commits of the newest releases of a model."""
    newest = select(Release.commit).where(Release.model == model).order_by(Release.id.desc())
    return session.scalars(newest.limit(limit)).all()


def stages_of(session: Session, release_ids: Sequence[int]) -> dict[int, Stage]:
    """The newest stage of each of these releases, by release."""
    rows = session.scalars(select(Stage).where(Stage.release_id.in_(release_ids)).order_by(Stage.id))
    return {stage.release_id: stage for stage in rows}


def last_rejected(session: Session, models: Sequence[str]) -> dict[str, Release]:
    """The newest release of each of these models that was rejected or failed, by model."""
    unsuccessful = Release.status.in_((Status.REJECTED, Status.FAILED))
    of_each = (
        select(Release.id).where(Release.model == model, unsuccessful).order_by(Release.id.desc()).limit(1)
        for model in models
    )
    newest = [one.scalar_subquery() for one in of_each]
    return {
        release.model: release for release in session.scalars(select(Release).where(Release.id.in_(newest)))
    }


def of_commits(session: Session, repository: str, commits: Sequence[str]) -> dict[str, Release]:
    """The newest release of each of these commits, by commit, with no more than `vcs` may read of it."""
    shown = load_only(Release.commit, Release.status, Release.reason, raiseload=True)
    query = select(Release).where(Release.repository == repository, Release.commit.in_(commits))
    found = session.scalars(query.options(shown).order_by(Release.id))
    return {release.commit: release for release in found}
