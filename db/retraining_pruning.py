"""What is forgotten of retrainings: those long ended that made no release, and of models not followed."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, select, true, union
from sqlalchemy.orm import Session

from db.retraining_models import Retraining, RetrainingPlan
from db.retrainings import MAX_AHEAD
from db.states import RetrainingState

RETENTION = timedelta(days=30)


def prune_retrainings(session: Session, model: str) -> int:
    """Delete retrainings that ended without a release `RETENTION` ago; return how many.

    The newest by each trigger and the last scheduled one stay: they tell what is not due again, and when the
    cooldown began.
    """
    ends = (RetrainingState.UNCHANGED, RetrainingState.SUPERSEDED, RetrainingState.FAILED)
    has_ended = Retraining.state.in_(ends)
    is_old = Retraining.created_at < func.now() - RETENTION
    newest = select(func.max(Retraining.id)).where(Retraining.model == model).group_by(Retraining.trigger)
    scheduled = (Retraining.model == model) & (Retraining.scheduled_at <= func.now() + MAX_AHEAD)
    last = (
        select(Retraining.id).where(scheduled).order_by(Retraining.scheduled_at.desc()).limit(1)
    ).scalar_subquery()
    is_needed = Retraining.id.in_(newest) | Retraining.id.is_not_distinct_from(last)
    return _delete(session, model, has_ended & is_old & ~is_needed)


def forget_model(session: Session, model: str) -> None:
    """Delete a model's plan and its retrainings, but those that made a release."""
    session.execute(delete(RetrainingPlan).where(RetrainingPlan.model == model))
    _delete(session, model, true())


def _delete(session: Session, model: str, which: ColumnElement[bool]) -> int:
    found = (Retraining.model == model) & Retraining.release_id.is_(None) & which
    return len(session.scalars(delete(Retraining).where(found).returning(Retraining.id)).all())


def list_unfollowed(session: Session, models: Collection[str]) -> Sequence[str]:
    """Return the models, other than these, of which something would be forgotten."""
    made = select(Retraining.model).where(Retraining.release_id.is_(None))
    each = union(made, select(RetrainingPlan.model)).subquery()
    return session.scalars(select(each.c.model).where(each.c.model.not_in(models))).all()
