"""Scores: evaluations of a live release on today's test data, by request."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, joinedload

from db import deployments
from db.models import Score
from db.session import notify
from db.states import Status


def request_score(session: Session, model: str, who: str) -> Score:
    """Queue a score of the live release; raises `deployments.RefusedError` when there is none."""
    live = deployments.find_live(session, model)
    if live is None:
        raise deployments.RefusedError(f"nothing of {model} is live: there is nothing to score")
    score = Score(model=model, release_id=live.release_id, requested_by=who, status=Status.QUEUED)
    session.add(score)
    session.flush()
    notify(session, "releases", model)
    return score


def list_queued(session: Session) -> Sequence[Score]:
    return session.scalars(select(Score).where(Score.status == Status.QUEUED).order_by(Score.id)).all()


def find(session: Session, score_id: int) -> Score | None:
    """Return a score with its release."""
    return session.get(Score, score_id, options=[joinedload(Score.release)])


def settle_score(
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


def list_scores(session: Session, model: str, limit: int = 20) -> Sequence[Score]:
    """Return a model's scores, newest first."""
    return session.scalars(
        select(Score).where(Score.model == model).order_by(Score.id.desc()).limit(limit)
    ).all()
