"""Releases: what is queued, due, kept and shown; what a builder does with one is in `claims`."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import Select, Text, extract, func, select, true, update
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session, aliased, defer, load_only, selectinload

from db import deployments, newest
from db.models import Deployment, Outcome, Release, Stage, Status, Trigger
from db.pull_requests import Accepted
from db.session import notify

NEW = timedelta(minutes=30)
LATELY = 10  # releases that were live


def queue_merges(session: Session, model: str, merges: Sequence[Accepted]) -> Release | None:
    """Queue the newest of `merges` (newest first, see `newest.in_order`) when it is unknown.

    Those that came since the newest known one are kept as superseded; what a model had before its first
    release is not looked at. Several pull requests may have one merge commit: the newest of them counts.
    """
    merges = list({merge.commit: merge for merge in reversed(merges)}.values())[::-1]
    deployments.lock(session, model)  # nothing older is put back meanwhile
    commits = _known(session, model, merges)
    first = not session.scalar(select(_merges_of(model).exists()))
    found = list(takewhile(lambda merge: merge.commit not in commits, merges[:1] if first else merges))
    if found:
        return _queue_newest(session, model, [_from_merge(model, merge) for merge in found])
    for merge in merges:  # of the same second and older, by its history
        if merge.merged_at == merges[0].merged_at and merge.commit not in commits:
            late = _from_merge(model, merge)
            late.status, late.finished_at = Status.SUPERSEDED, func.now()
            late.reason = f"#{merges[0].number} was merged after it"
            session.add(late)
    return None


def is_tied(session: Session, model: str, merges: Sequence[Accepted]) -> bool:
    """Whether one of several merges of the newest second is unknown: their order is to be found out first."""
    second = newest.of_the_newest_second(merges)
    return len(second) > 1 and not set(second) <= _known(session, model, merges)


def _merges_of(model: str) -> Select[str]:
    return select(Release.commit).where(Release.model == model, Release.trigger == Trigger.MERGE)


def _known(session: Session, model: str, merges: Sequence[Accepted]) -> set[str]:
    """The commits of these merges that have a release."""
    commits = [merge.commit for merge in merges]
    return set(session.scalars(_merges_of(model).where(Release.commit.in_(commits))))


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


def _queue_newest(session: Session, model: str, found: Sequence[Release]) -> Release:
    """Queue the first of `found`, newest first; the others, and what waits already, are superseded."""
    chosen, *older = found
    reason = f"{newest.name(chosen)} after it, before it was begun"
    for release in older:
        release.status, release.finished_at, release.reason = Status.SUPERSEDED, func.now(), reason
    supersede(session, model, reason)
    for position, release in enumerate(reversed(found), newest.next_position(session, model)):
        release.position = position
        session.add(release)
    session.flush()
    notify(session, "releases", model)
    return chosen


def due(session: Session, model: str) -> int | None:
    """The release of `model` that has waited longest to be built and whose time has come."""
    return session.scalar(
        select(Release.id)
        .where(Release.model == model, Release.status == Status.QUEUED, Release.due_at <= func.now())
        .order_by(Release.id)
        .limit(1)
    )


def next_due_in(session: Session) -> float | None:
    """Seconds until the next release is due that was put off; what is due waits for others to end."""
    put_off = (Release.status == Status.QUEUED) & (Release.due_at > func.now())
    rest = select(extract("epoch", func.min(Release.due_at) - func.now())).where(put_off)
    return None if (seconds := session.scalar(rest)) is None else float(seconds)


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
    deployments.lock(session, model)  # nothing older is put back meanwhile
    known = set(
        session.scalars(select(Release.ref).where(Release.model == model, Release.trigger == Trigger.TAG))
    )
    unknown = list(takewhile(lambda tag: tag[0] not in known, tags if known else tags[:1]))
    if not unknown:
        return None
    return _queue_newest(session, model, [_from_tag(model, repository, *tag) for tag in unknown])


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


def is_new(session: Session, release_id: int) -> bool:
    """Whether what a release came from happened just now, as Postgres counts time."""
    happened = func.coalesce(Release.merged_at, Release.created_at)
    asked = select(happened > func.now() - NEW).where(
        Release.id == release_id, Release.trigger.in_((Trigger.MERGE, Trigger.TAG))
    )
    return bool(session.scalar(asked))


def lately_live(session: Session, model: str, test: str) -> list[tuple[int, dict[str, float]]]:
    """The last ten releases that were live, newest first, with their metrics on this test data (a sha256)."""
    newest = func.max(Deployment.id)
    last = (
        select(Deployment.release_id.label("id"), newest.label("deployment"))
        .where(Deployment.model == model, Deployment.live_at.is_not(None))
        .group_by(Deployment.release_id)
        .order_by(newest.desc())
        .limit(LATELY)
        .subquery()
    )
    rows = session.execute(
        select(Release.id, Release.metrics)
        .join(last, last.c.id == Release.id)
        .where(Release.metrics.is_not(None), Release.data["test"]["sha256"].astext == test)
        .order_by(last.c.deployment.desc())
    )
    return [(id_, metrics) for id_, metrics in rows if metrics is not None]


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
    each = func.unnest(array(models, type_=Text)).table_valued("model").render_derived()
    of_model = aliased(Release)
    ids = select(of_model.id).where(of_model.model == each.c.model)
    last = ids.order_by(of_model.id.desc()).limit(limit).lateral()
    said = (Release.model, Release.commit, Release.pull_request, Release.title, Release.status)
    rows = session.scalars(
        select(Release)
        .select_from(each.join(last, true()).join(Release, Release.id == last.c.id))
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
