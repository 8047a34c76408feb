"""Scores: a live release evaluated again on today's test data, because somebody asked."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, joinedload

from db import deployments
from db.models import Score, Status
from db.session import notify


def ask(session: Session, model: str, who: str) -> Score:
    """Queue a score of what is live; raises `deployments.Refused` when nothing is."""
    live = deployments.live(session, model)
    if live is None:
        raise deployments.Refused(f"nothing of {model} is live: there is nothing to score")
    score = Score(model=model, release_id=live.release_id, requested_by=who, status=Status.QUEUED)
    session.add(score)
    session.flush()
    notify(session, "releases", model)
    return score


def waiting(session: Session) -> Sequence[Score]:
    return session.scalars(select(Score).where(Score.status == Status.QUEUED).order_by(Score.id)).all()


def find(session: Session, score_id: int) -> Score | None:
    """A score with its release."""
    return session.get(Score, score_id, options=[joinedload(Score.release)])


def settle(
    session: Session,
    score_id: int,
    status: Status,
    *,
    reason: str | None = None,
    metrics: dict[str, float] | None = None,
    data: dict[str, object] | None = None,
) -> None:
    session.execute(
        update(Score)
        .where(Score.id == score_id, Score.status == Status.QUEUED)
        .values(status=status, reason=reason, metrics=metrics, data=data, finished_at=func.now())
    )


def history(session: Session, model: str, limit: int = 20) -> Sequence[Score]:
    """Newest first."""
    return session.scalars(
        select(Score).where(Score.model == model).order_by(Score.id.desc()).limit(limit)
    ).all()
