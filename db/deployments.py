"""Decisions about what a model serves; whoever decides, decides here."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, joinedload

from db.models import Cause, Deployment, State
from db.session import notify


class Overtaken(Exception):
    """Somebody decided for this model, or something else went live, since the decider looked."""


@dataclass(frozen=True)
class Seen:
    """What a decider knew of a model's deployments: their ids, None where there was none."""

    newest: int | None
    live: int | None


def lock(session: Session, model: str) -> None:
    """One decision at a time for a model, until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('deployments'), hashtext(:m))"), {"m": model})


def look(session: Session, model: str) -> Seen:
    """The newest decision of any state and the live one, as they are now."""
    of_model = select(func.max(Deployment.id)).where(Deployment.model == model)
    return Seen(session.scalar(of_model), session.scalar(of_model.where(Deployment.state == State.LIVE)))


def decide(
    session: Session,
    model: str,
    release_id: int,
    cause: Cause,
    *,
    who: str,
    why: str | None,
    seen: Seen | None,
) -> Deployment:
    """Want `release_id` live; `Overtaken` when `seen` (None: never mind) is no longer what is so."""
    lock(session, model)
    if seen is not None and look(session, model) != seen:
        raise Overtaken
    deployment = Deployment(
        model=model, release_id=release_id, cause=cause, who=who, why=why, state=State.WANTED
    )
    session.add(deployment)
    session.flush()
    notify(session, "deployments", model)
    return deployment


def live(session: Session, model: str) -> Deployment | None:
    """What users get: the newest deployment that reached `live`, with its release."""
    return session.scalar(
        select(Deployment)
        .where(Deployment.model == model, Deployment.state == State.LIVE)
        .options(joinedload(Deployment.release))
        .order_by(Deployment.id.desc())
        .limit(1)
    )


def wanted(session: Session, model: str) -> Deployment | None:
    """The newest deployment that is neither live nor failed and newer than what is live, with its release."""
    is_live = select(func.coalesce(func.max(Deployment.id), 0)).where(
        Deployment.model == model, Deployment.state == State.LIVE
    )
    return session.scalar(
        select(Deployment)
        .where(Deployment.model == model, Deployment.state == State.WANTED)
        .where(Deployment.id > is_live.scalar_subquery())
        .options(joinedload(Deployment.release))
        .order_by(Deployment.id.desc())
        .limit(1)
    )


def went_live(session: Session, deployment: Deployment) -> None:
    """Say back that users get it now; older wishes that were not tried have failed with it."""
    lock(session, deployment.model)
    session.execute(
        update(Deployment)
        .where(Deployment.id == deployment.id, Deployment.state == State.WANTED)
        .values(state=State.LIVE, live_at=func.clock_timestamp(), reason=None)
    )
    session.execute(
        update(Deployment)
        .where(
            Deployment.model == deployment.model,
            Deployment.id < deployment.id,
            Deployment.state == State.WANTED,
        )
        .values(state=State.FAILED, reason="a newer decision was made before it was tried")
    )
    notify(session, "live", deployment.model)


def failed(session: Session, deployment: Deployment, reason: str) -> None:
    """Say back that it could not take the place, and why; what was live stays live."""
    session.execute(
        update(Deployment)
        .where(Deployment.id == deployment.id, Deployment.state == State.WANTED)
        .values(state=State.FAILED, reason=reason)
    )
    notify(session, "live", deployment.model)


def of_releases(session: Session, release_ids: Sequence[int]) -> dict[int, Deployment]:
    """The newest deployment of each of these releases, by release."""
    rows = session.scalars(
        select(Deployment).where(Deployment.release_id.in_(release_ids)).order_by(Deployment.id)
    )
    return {row.release_id: row for row in rows}
