"""The state of the MLflow sync: exported releases, pending ones, and the last position of alias `prod`."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, selectinload

from db import deployment_history, deployments
from db.claims import MAX_ATTEMPTS, MAX_RETRY_DELAY, retry_delay
from db.clock import has_come
from db.mlflow_models import MlflowAlias, MlflowRun
from db.models import Release
from db.states import Status, Trigger

HAS_ENDED = Release.status.not_in((Status.QUEUED, Status.BUILDING))
MAX_BATCH = 50  # releases that are exported in one batch


@dataclass(frozen=True)
class Unsynced:
    """A release, with its stages, whose newest status is not exported to MLflow."""

    release: Release
    mlflow_run: MlflowRun | None


def list_unsynced(session: Session, *, ended: bool) -> list[Unsynced]:
    """Return releases, oldest first, that ended since their export, or running ones that have no run yet."""
    query = (
        select(Release, MlflowRun)
        .outerjoin(MlflowRun, MlflowRun.release_id == Release.id)
        .options(selectinload(Release.stages))
        .order_by(Release.id)
        .limit(MAX_BATCH)
    )
    if ended:
        query = query.where(
            HAS_ENDED,
            Release.trigger != Trigger.CHECK,
            Release.status != Status.UNTOUCHED,
            Release.told.is_distinct_from(Release.status),
            or_(MlflowRun.due_at.is_(None), has_come(MlflowRun.due_at, MAX_RETRY_DELAY)),
        )
    else:
        query = query.where(
            Release.status == Status.BUILDING,
            Release.entry_point.is_not(None),  # before its checkout it may turn out to be untouched
            Release.trigger != Trigger.CHECK,
            or_(MlflowRun.release_id.is_(None), MlflowRun.run.is_(None)),
        )
    return [Unsynced(release, tracked) for release, tracked in session.execute(query)]


def ensure_run(session: Session, release_id: int) -> MlflowRun:
    """Return a release's row, inserted when it is missing: before a run is requested from MLflow."""
    made = insert(MlflowRun).values(release_id=release_id, key=secrets.token_hex(16), is_open=False)
    session.execute(made.on_conflict_do_nothing())
    return session.get_one(MlflowRun, release_id)


def record_facts(session: Session, release_id: int, **facts: object) -> None:
    """Write columns of a release's `MlflowRun`."""
    session.execute(update(MlflowRun).where(MlflowRun.release_id == release_id).values(**facts))


def clear_version(session: Session, model: str, version: int) -> None:
    """Clear a version that a registered model no longer has."""
    of_model = select(Release.id).where(Release.model == model)
    session.execute(
        update(MlflowRun)
        .where(MlflowRun.version == version, MlflowRun.release_id.in_(of_model))
        .values(version=None)
    )


def mark_synced(session: Session, release: Release, problem: str | None = None) -> None:
    """Record that MLflow has the release's end, and everything else except `problem`."""
    session.execute(update(Release).where(Release.id == release.id).values(told=release.status))
    record_facts(session, release.id, told_at=func.clock_timestamp(), trouble=problem)


def defer_sync(session: Session, release: Release, problem: str) -> bool:
    """Retry an export later that failed though MLflow is available; return False after the last attempt."""
    tracked = session.get_one(MlflowRun, release.id)
    tracked.tries += 1
    tracked.trouble = problem
    if tracked.tries >= MAX_ATTEMPTS:
        mark_synced(session, release, problem)
        return False
    record_facts(session, release.id, due_at=func.now() + retry_delay(tracked.tries))
    return True


def list_models_with_access(session: Session) -> Sequence[str]:
    """Return the models whose code may still have a password, though nothing of them is being built."""
    building = select(Release.model).where(Release.status == Status.BUILDING)
    query = select(Release.model).join(MlflowRun, MlflowRun.release_id == Release.id).distinct()
    return session.scalars(query.where(MlflowRun.is_open, HAS_ENDED, Release.model.not_in(building))).all()


def close_access(session: Session, model: str) -> None:
    """Record that no password of this model's ended trainings is valid any more."""
    ended = select(Release.id).where(Release.model == model, HAS_ENDED)
    was_open = (MlflowRun.release_id.in_(ended)) & MlflowRun.is_open
    session.execute(update(MlflowRun).where(was_open).values(is_open=False))


def set_experiment(session: Session, model: str, experiment: str) -> bool:
    """Store the experiment of a model's runs; return False when it changed: nothing was exported there."""
    alias = session.get(MlflowAlias, model)
    if alias is not None and alias.place == experiment:
        return True
    is_new = alias is None or alias.place is None
    of_model = select(Release.id).where(Release.model == model)
    if not is_new:
        session.execute(delete(MlflowRun).where(MlflowRun.release_id.in_(of_model)))
        session.execute(update(Release).where(Release.model == model).values(told=None))
    values = {"place": experiment, "version": None, "previous": None, "sent": True, "refused": None}
    made = insert(MlflowAlias).values(model=model, **values)
    session.execute(made.on_conflict_do_update(index_elements=["model"], set_=values))
    return is_new


def find_run(session: Session, release_id: int) -> MlflowRun | None:
    return session.get(MlflowRun, release_id)


def find_release_by_version(session: Session, model: str, version: int) -> Release | None:
    """Return the release that became this version of the registered model."""
    return session.scalar(
        select(Release)
        .join(MlflowRun, MlflowRun.release_id == Release.id)
        .where(Release.model == model, MlflowRun.version == version)
        .order_by(Release.id.desc())
        .limit(1)
    )


@dataclass(frozen=True)
class AliasVersions:
    """The versions that `prod` and `previous` are to point to; None where none is registered."""

    prod: int | None
    previous: int | None


def find_desired_aliases(session: Session, model: str) -> AliasVersions | None:
    """Return the versions of the live release and of the one before it; None while a decision is pending."""
    if deployments.find_wanted(session, model) is not None:
        return None
    live = deployments.find_live(session, model)
    if live is None:
        return AliasVersions(None, None)
    before = deployment_history.find_previously_live(session, [live.release_id]).get(model)
    return AliasVersions(
        find_version(session, live.release_id), find_version(session, before.id) if before else None
    )


def find_version(session: Session, release_id: int) -> int | None:
    return session.scalar(select(MlflowRun.version).where(MlflowRun.release_id == release_id))


def find_alias(session: Session, model: str) -> MlflowAlias | None:
    """Return the last position of `prod`; None when it was never polled."""
    return session.get(MlflowAlias, model)


def save_aliases(
    session: Session, model: str, aliases: AliasVersions, *, sent: bool, refused: str | None = None
) -> None:
    """Store the aliases as observed (`sent`), or as they are to be set."""
    values = {
        "version": aliases.prod,
        "previous": aliases.previous,
        "sent": sent,
        "refused": refused,
        "at": func.clock_timestamp(),
    }
    made = insert(MlflowAlias).values(model=model, **values)
    session.execute(made.on_conflict_do_update(index_elements=["model"], set_=values))


def is_out_of_sync(session: Session, model: str) -> bool:
    """Return whether a model's aliases differ from the desired ones, as far as is recorded."""
    wanted, alias = find_desired_aliases(session, model), find_alias(session, model)
    if wanted is None:
        return False
    if alias is None or wanted.prod is None:  # other people's aliases may have that name: they are left alone
        return wanted.prod is not None or (alias is not None and not alias.sent)
    return not alias.sent or wanted != AliasVersions(alias.version, alias.previous)
