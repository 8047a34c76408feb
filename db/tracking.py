"""What MLflow was told, what it is still to be told, and where its alias `prod` was last."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, selectinload

from db import deployments
from db.models import Alias, Release, Status, Tracked

TRIES = 5  # to tell of a release, while MLflow is there
ENDED = Release.status.not_in((Status.QUEUED, Status.BUILDING))
MOST = 50  # releases that are told of in one go


@dataclass(frozen=True)
class Untold:
    """A release, with its stages, that MLflow has not heard the newest of."""

    release: Release
    tracked: Tracked | None


def untold(session: Session, *, ended: bool) -> list[Untold]:
    """Oldest first: those that have ended since they were told of, or those that run and have no run yet."""
    query = (
        select(Release, Tracked)
        .outerjoin(Tracked, Tracked.release_id == Release.id)
        .options(selectinload(Release.stages))
        .order_by(Release.id)
        .limit(MOST)
    )
    if ended:
        query = query.where(
            ENDED,
            Release.told.is_distinct_from(Release.status),
            or_(Tracked.due_at.is_(None), Tracked.due_at <= func.now()),
        )
    else:
        query = query.where(
            Release.status == Status.BUILDING, or_(Tracked.release_id.is_(None), Tracked.run.is_(None))
        )
    return [Untold(release, tracked) for release, tracked in session.execute(query)]


def begin(session: Session, release_id: int) -> Tracked:
    """The row of a release, made when it is missing: before MLflow is asked for a run."""
    made = insert(Tracked).values(release_id=release_id, key=secrets.token_hex(16), is_open=False)
    session.execute(made.on_conflict_do_nothing())
    return session.get_one(Tracked, release_id)


def record(session: Session, release_id: int, **facts: object) -> None:
    """Columns of `Tracked` that became known."""
    session.execute(update(Tracked).where(Tracked.release_id == release_id).values(**facts))


def forget(session: Session, model: str, version: int) -> None:
    """This version of a registered model is there no more."""
    of_model = select(Release.id).where(Release.model == model)
    session.execute(
        update(Tracked)
        .where(Tracked.version == version, Tracked.release_id.in_(of_model))
        .values(version=None)
    )


def told(session: Session, release: Release, trouble: str | None = None) -> None:
    """MLflow knows how it ended, and all else but for the `trouble`."""
    session.execute(update(Release).where(Release.id == release.id).values(told=release.status))
    record(session, release.id, told_at=func.clock_timestamp(), trouble=trouble)


def put_off(session: Session, release: Release, trouble: str) -> bool:
    """It could not be told, and not because MLflow is away: again later; False after the last try."""
    tracked = session.get_one(Tracked, release.id)
    tracked.tries += 1
    tracked.trouble = trouble
    if tracked.tries >= TRIES:
        told(session, release, trouble)
        return False
    tracked.due_at = datetime.now(UTC) + timedelta(seconds=15 * 4 ** (tracked.tries - 1))
    return True


def still_open(session: Session) -> Sequence[str]:
    """Return the models whose code may still have a password, though nothing of them is being built."""
    building = select(Release.model).where(Release.status == Status.BUILDING)
    query = select(Release.model).join(Tracked, Tracked.release_id == Release.id).distinct()
    return session.scalars(query.where(Tracked.is_open, ENDED, Release.model.not_in(building))).all()


def close(session: Session, model: str) -> None:
    """Note that no password of this model's ended trainings is good for anything."""
    ended = select(Release.id).where(Release.model == model, ENDED)
    was_open = (Tracked.release_id.in_(ended)) & Tracked.is_open
    session.execute(update(Tracked).where(was_open).values(is_open=False))


def settle_at(session: Session, model: str, place: str) -> bool:
    """Remember which experiment a model's runs are in; False when it was another: nothing was told there."""
    known = session.get(Alias, model)
    if known is not None and known.place == place:
        return True
    is_new = known is None or known.place is None
    of_model = select(Release.id).where(Release.model == model)
    if not is_new:
        session.execute(delete(Tracked).where(Tracked.release_id.in_(of_model)))
        session.execute(update(Release).where(Release.model == model).values(told=None))
    values = {"place": place, "version": None, "previous": None, "sent": True, "refused": None}
    made = insert(Alias).values(model=model, **values)
    session.execute(made.on_conflict_do_update(index_elements=["model"], set_=values))
    return is_new


def of(session: Session, release_id: int) -> Tracked | None:
    return session.get(Tracked, release_id)


def of_version(session: Session, model: str, version: int) -> Release | None:
    """The release that became this version of the registered model."""
    return session.scalar(
        select(Release)
        .join(Tracked, Tracked.release_id == Release.id)
        .where(Release.model == model, Tracked.version == version)
        .order_by(Release.id.desc())
        .limit(1)
    )


@dataclass(frozen=True)
class Aliases:
    """Versions: where `prod` and `previous` belong. None: nothing of the kind is registered."""

    prod: int | None
    previous: int | None


def belongs(session: Session, model: str) -> Aliases | None:
    """By what is live and what was before it; None while a decision is on its way."""
    if deployments.wanted(session, model) is not None:
        return None
    live = deployments.live(session, model)
    if live is None:
        return Aliases(None, None)
    before = deployments.earlier(session, [live.release_id]).get(model)
    return Aliases(version(session, live.release_id), version(session, before.id) if before else None)


def version(session: Session, release_id: int) -> int | None:
    return session.scalar(select(Tracked.version).where(Tracked.release_id == release_id))


def alias(session: Session, model: str) -> Alias | None:
    """Where `prod` was last; None when it has never been looked at."""
    return session.get(Alias, model)


def put(session: Session, model: str, at: Aliases, *, sent: bool, refused: str | None = None) -> None:
    """Remember where the aliases are seen (`sent`), or are to be put."""
    values = {
        "version": at.prod,
        "previous": at.previous,
        "sent": sent,
        "refused": refused,
        "at": func.clock_timestamp(),
    }
    made = insert(Alias).values(model=model, **values)
    session.execute(made.on_conflict_do_update(index_elements=["model"], set_=values))


def is_waiting(session: Session, model: str) -> bool:
    """Whether the aliases of a model are not where they belong, as far as we know."""
    wanted, known = belongs(session, model), alias(session, model)
    if wanted is None:
        return False
    if known is None or wanted.prod is None:  # aliases of others may stand by that name: they are left alone
        return wanted.prod is not None or (known is not None and not known.sent)
    return not known.sent or wanted != Aliases(known.version, known.previous)
