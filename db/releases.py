"""Releases as they are stored: found, listed, pruned; those that wait are in `release_queue`."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Text, exists, func, select, true
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session, aliased, defer, load_only, selectinload

from db import deployments, rollbacks
from db.models import Deployment, Release, Stage
from db.states import CHANGE_TRIGGERS, RETRAIN_TRIGGERS, Status, Trigger

MAX_RECENT = 10  # releases that were live
MAX_LIVE_DEPLOYMENTS = 50  # of a model, among which a newer release is looked for


def find_last_judged(session: Session, release: Release) -> Release | None:
    """Return the newest change of a model before this one that was judged, whatever has become of it since.

    One that failed, was cancelled or overtaken was not judged; one that did not touch the model is none. None
    of a release without a position, as a check.
    """
    if release.position is None:
        return None
    judged = Release.status.in_((Status.DEPLOYED, Status.PASSED, Status.REJECTED))
    before = (Release.model == release.model) & (Release.position < release.position)
    return session.scalar(select(Release).where(before, judged).order_by(Release.position.desc()).limit(1))


def find_newest_of_commit(session: Session, model: str, commit: str) -> Release | None:
    """Return the newest release of a commit that is no check; None where there is none."""
    of_commit = (Release.model == model) & (Release.commit == commit) & (Release.trigger != Trigger.CHECK)
    return session.scalar(select(Release).where(of_commit).order_by(Release.id.desc()).limit(1))


def list_with_files(session: Session) -> Sequence[Release]:
    """Return releases whose files are needed: in progress, or built and not pruned."""
    on_its_way = Release.status.in_((Status.QUEUED, Status.BUILDING))
    unpruned = Release.artifact.is_not(None) & Release.pruned_at.is_(None)
    judged = (Status.PASSED, Status.DEPLOYED, Status.CHECKED, Status.REJECTED)
    built = Release.status.in_(judged) & unpruned
    return session.scalars(select(Release).where(on_its_way | built)).all()


def list_building(session: Session) -> Sequence[Release]:
    return session.scalars(select(Release).where(Release.status == Status.BUILDING)).all()


def prune_artifacts(session: Session, model: str, retain: int) -> Sequence[Release]:
    """Mark all but the newest `retain` artifacts of a model as pruned; delete the files after the commit.

    Never the live release's, nor that of the one that a rollback goes to, or of the newest one of another
    commit, nor one that is wanted or that a release in progress starts from. Return those marked now.
    """
    deployments.lock_model(session, model)
    live = deployments.find_live(session, model)
    needed = {live.release_id} if live else set()
    if live:
        before = (
            rollbacks.find_target(session, live),
            rollbacks.find_other_commit(session, live),
        )
        needed |= {release.id for release in before if release is not None}
    if wanted := deployments.find_wanted(session, model):
        needed.add(wanted.release_id)
    on_its_way = Release.status.in_((Status.QUEUED, Status.BUILDING))
    needed |= {id_ for id_ in session.scalars(select(Release.warm_start).where(on_its_way)) if id_}
    built = (
        select(Release)
        .where(
            Release.model == model, Release.artifact.is_not(None), Release.pruned_at.is_(None), ~on_its_way
        )
        .where(Release.trigger != Trigger.CHECK)
    )
    spare = [
        r for r in session.scalars(built.order_by(Release.id.desc()).offset(retain)) if r.id not in needed
    ]
    for release in spare:
        release.pruned_at = func.now()
    session.flush()
    return spare


def count_pruned(session: Session) -> int:
    """Return the number of releases whose files are not needed any more: it only grows."""
    return session.scalar(select(func.count(Release.pruned_at))) or 0


def list_unfollowed(session: Session, models: Collection[str]) -> Sequence[str]:
    """Return the models with files that are not among these."""
    has_files = Release.artifact.is_not(None) & Release.pruned_at.is_(None)
    found = select(Release.model).where(has_files, Release.model.not_in(models)).distinct()
    return session.scalars(found.order_by(Release.model)).all()


def find_reference_data(session: Session, release_id: int) -> dict[str, Any]:
    """Return the reference data of a release's predictions: `history` or `target`, where the model has
    them.
    """
    return session.scalar(select(Release.known).where(Release.id == release_id)) or {}


def list_record_sections(session: Session, release: Release) -> list[dict[str, Any]]:
    """Return `[record]` of a release, and of the newest one that was live where that is newer.

    A rollback goes to older code, and its author has not decided that more is recorded again.
    """
    was_live = (Deployment.model == release.model) & Deployment.live_at.is_not(None)
    recent = (
        select(Deployment.release_id)
        .where(was_live)
        .order_by(Deployment.id.desc())
        .limit(MAX_LIVE_DEPLOYMENTS)
        .subquery()
    )
    newest = select(func.max(recent.c.release_id)).scalar_subquery()
    found = session.scalar(select(Release.record).where(Release.id == newest, Release.id > release.id))
    return [section for section in (release.record, found) if section]


def list_recently_live(session: Session, model: str, test: str) -> list[tuple[int, dict[str, float]]]:
    """Return the last ten once-live releases, newest first, and metrics on this test data (a sha256)."""
    again = aliased(Deployment)  # a release is ordered by the last time it was live
    was_live = (again.release_id == Deployment.release_id) & again.live_at.is_not(None)
    last = (
        select(Deployment.release_id, Deployment.id)
        .where(Deployment.model == model, Deployment.live_at.is_not(None))
        .where(~exists().where(was_live, again.id > Deployment.id))
        .order_by(Deployment.id.desc())
        .limit(MAX_RECENT)
        .subquery()
    )
    rows = session.execute(
        select(Release.id, Release.metrics)
        .join(last, last.c.release_id == Release.id)
        .where(Release.metrics.is_not(None), Release.data["test"]["sha256"].astext == test)
        .order_by(last.c.id.desc())
    )
    return [(id_, metrics) for id_, metrics in rows if metrics is not None]


def find(session: Session, release_id: int) -> Release | None:
    """Return a release with its stages."""
    return session.get(Release, release_id, options=[selectinload(Release.stages)], populate_existing=True)


def find_merge_of(session: Session, release: Release) -> Release | None:
    """Return the release of the merge or push of this one's commit, if that is another one."""
    return session.scalar(
        select(Release)
        .where(Release.model == release.model, Release.commit == release.commit, Release.id != release.id)
        .where(Release.trigger.in_(CHANGE_TRIGGERS))
    )


def list_releases(
    session: Session, model: str | None = None, limit: int = 50, *, checks: bool = True
) -> Sequence[Release]:
    """Return releases, newest first, without long columns that no list shows; checks only with `checks`."""
    long = (defer(Release.lock, raiseload=True), defer(Release.differences, raiseload=True))
    query = select(Release).options(*long).order_by(Release.id.desc()).limit(limit)
    if model is not None:
        query = query.where(Release.model == model)
    if not checks:
        query = query.where(Release.trigger != Trigger.CHECK)
    return session.scalars(query).all()


def list_newest_by_model(session: Session, models: Sequence[str], limit: int) -> dict[str, list[Release]]:
    """Return the newest releases of each of these models but checks, newest first, with a page's columns.

    Left out is what did not touch a model: it has no metrics, and hides none that needs attention.
    """
    each = func.unnest(array(models, type_=Text)).table_valued("model").render_derived()
    of_model = aliased(Release)
    is_shown = (of_model.trigger != Trigger.CHECK) & (of_model.status != Status.UNTOUCHED)
    ids = select(of_model.id).where(of_model.model == each.c.model, is_shown)
    last = ids.order_by(of_model.id.desc()).limit(limit).lateral()
    columns = (Release.model, Release.commit, Release.pull_request, Release.title, Release.status)
    rows = session.scalars(
        select(Release)
        .select_from(each.join(last, true()).join(Release, Release.id == last.c.id))
        .options(load_only(*columns, Release.reason, Release.metrics, Release.hold, Release.finished_at))
        .order_by(Release.id.desc())
    )
    found: dict[str, list[Release]] = {model: [] for model in models}
    for release in rows:
        found[release.model].append(release)
    return found


def list_commits(session: Session, model: str, limit: int) -> Sequence[str]:
    """Return the commits of the newest releases of a model."""
    newest = select(Release.commit).where(Release.model == model).order_by(Release.id.desc())
    return session.scalars(newest.limit(limit)).all()


def find_newest_stages(session: Session, release_ids: Sequence[int]) -> dict[int, Stage]:
    """Return the newest stage of each of these releases, by release."""
    rows = session.scalars(select(Stage).where(Stage.release_id.in_(release_ids)).order_by(Stage.id))
    return {stage.release_id: stage for stage in rows}


def find_last_unsuccessful(session: Session, models: Sequence[str]) -> dict[str, Release]:
    """Return the newest release of each of these models that was rejected or failed and is no check."""
    unsuccessful = Release.status.in_((Status.REJECTED, Status.FAILED)) & (Release.trigger != Trigger.CHECK)
    of_each = (
        select(Release.id).where(Release.model == model, unsuccessful).order_by(Release.id.desc()).limit(1)
        for model in models
    )
    newest = [one.scalar_subquery() for one in of_each]
    return {
        release.model: release for release in session.scalars(select(Release).where(Release.id.in_(newest)))
    }


def find_by_commits(session: Session, repository: str, commits: Sequence[str]) -> dict[str, Release]:
    """Return the newest release of each of these commits, by commit, with only the columns `vcs` may read.

    The check of a merge group and a retraining are of the same commit as its merge.
    """
    columns = load_only(Release.commit, Release.status, Release.reason, raiseload=True)
    query = select(Release).where(Release.repository == repository, Release.commit.in_(commits))
    query = query.where(Release.trigger.not_in((Trigger.CHECK, *RETRAIN_TRIGGERS)))
    # of several models in one repository, one that the commit touches
    is_touched = Release.status != Status.UNTOUCHED
    found = session.scalars(query.options(columns).order_by(is_touched, Release.id))
    return {release.commit: release for release in found}
