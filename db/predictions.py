"""Sampled predictions: what was asked and what was answered, bounded in rows a model."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from db.models import Prediction

KEPT = 1000  # rows a model
OLDEST = timedelta(days=30)


def record(session: Session, predictions: Sequence[Prediction]) -> None:
    """Add a batch, and forget what is beyond the newest `KEPT` of each model or older than `OLDEST`."""
    session.add_all(predictions)
    session.flush()
    session.execute(delete(Prediction).where(Prediction.at < func.now() - OLDEST))
    for model in {prediction.model for prediction in predictions}:
        oldest_kept = (
            select(Prediction.id)
            .where(Prediction.model == model)
            .order_by(Prediction.id.desc())
            .offset(KEPT)
            .limit(1)
        )
        session.execute(
            delete(Prediction).where(
                Prediction.model == model, Prediction.id <= oldest_kept.scalar_subquery()
            )
        )


def distinct_features(session: Session, model: str, limit: int) -> list[Any]:
    """The features of the newest recorded requests, each once."""
    newest = (
        select(Prediction.request, func.max(Prediction.id).label("id"))
        .where(Prediction.model == model)
        .group_by(Prediction.request)
        .order_by(func.max(Prediction.id).desc())
        .limit(limit)
    )
    return [row.request["features"] for row in session.execute(newest)]
