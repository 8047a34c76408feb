"""Sampled predictions: requests and responses, bounded in rows a model."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from db.models import Prediction

MAX_PREDICTIONS = 1000  # rows a model
MAX_AGE = timedelta(days=30)


def record_batch(session: Session, predictions: Sequence[Prediction]) -> None:
    """Add a batch, and delete rows beyond the newest `MAX_PREDICTIONS` of each model or older than
    `MAX_AGE`.
    """
    session.add_all(predictions)
    session.flush()
    session.execute(delete(Prediction).where(Prediction.at < func.now() - MAX_AGE))
    for model in {prediction.model for prediction in predictions}:
        oldest_kept = (
            select(Prediction.id)
            .where(Prediction.model == model)
            .order_by(Prediction.id.desc())
            .offset(MAX_PREDICTIONS)
            .limit(1)
        )
        session.execute(
            delete(Prediction).where(
                Prediction.model == model, Prediction.id <= oldest_kept.scalar_subquery()
            )
        )


def list_distinct_features(session: Session, model: str, limit: int) -> list[Any]:
    """Return the features of the newest recorded requests, each once."""
    newest = (
        select(Prediction.request, func.max(Prediction.id).label("id"))
        .where(Prediction.model == model)
        .group_by(Prediction.request)
        .order_by(func.max(Prediction.id).desc())
        .limit(limit)
    )
    return [row.request["features"] for row in session.execute(newest)]
