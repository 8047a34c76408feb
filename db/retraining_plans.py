"""What is planned of each model's retraining: its schedule, its pause, and what was seen of its data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Text, func, select, true
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.orm import Session

from db.models import Deployment, Release
from db.retraining_models import Retraining, RetrainingPlan
from db.session import notify
from db.states import DeploymentState, Trigger


@dataclass(frozen=True)
class LiveModel:
    """A model's live release, as far as retraining needs it, and the plan for the model."""

    model: str
    release: int
    commit: str
    retrain: dict[str, Any] | None  # [retrain] of its manifest
    plan: RetrainingPlan | None


def list_live(session: Session, models: Sequence[str]) -> dict[str, LiveModel]:
    """Return what each of these models serves; those of which nothing is live are missing."""
    each = func.unnest(array(models, type_=Text)).table_valued("model").render_derived()
    newest = (
        select(Deployment.release_id)
        .where(Deployment.model == each.c.model, Deployment.state == DeploymentState.LIVE)
        .order_by(Deployment.id.desc())
        .limit(1)
        .lateral()
    )
    columns = (each.c.model, Release.id, Release.commit, Release.retrain, RetrainingPlan)
    rows = session.execute(
        select(*columns)
        .select_from(each.join(newest, true()).join(Release, Release.id == newest.c.release_id))
        .outerjoin(RetrainingPlan, RetrainingPlan.model == each.c.model)
    )
    return {row[0]: LiveModel(*row) for row in rows} if models else {}


def find_plan(session: Session, model: str) -> RetrainingPlan | None:
    return session.get(RetrainingPlan, model)


def lock_plan(session: Session, model: str) -> RetrainingPlan:
    """Return the plan of a model, made where there is none, locked until the transaction ends."""
    session.execute(insert(RetrainingPlan).values(model=model).on_conflict_do_nothing())
    return session.get_one(RetrainingPlan, model, with_for_update=True, populate_existing=True)


def list_plans(session: Session, models: Sequence[str]) -> Sequence[RetrainingPlan]:
    return session.scalars(select(RetrainingPlan).where(RetrainingPlan.model.in_(models))).all()


def pause(session: Session, model: str, *, who: str, why: str | None) -> RetrainingPlan:
    """Begin no retraining of a model until it is resumed; whoever paused it first is on record."""
    plan = lock_plan(session, model)
    if plan.paused_at is None:
        plan.paused_at, plan.paused_by, plan.paused_why = func.now(), who, why
        plan.next_at, plan.waits = None, None
    session.flush()
    session.refresh(plan)
    notify(session, "releases", model)
    return plan


def resume(session: Session, model: str) -> RetrainingPlan:
    """Retrain a model again from now on: what a schedule missed is not made up for, new data is."""
    plan = lock_plan(session, model)
    if plan.paused_at is not None:
        plan.paused_at, plan.paused_by, plan.paused_why = None, None, None
        plan.since = func.now() if plan.schedule is not None else None
    session.flush()
    session.refresh(plan)
    notify(session, "releases", model)
    return plan


def record_data(
    session: Session,
    model: str,
    changed: tuple[str, str] | None,
    *,
    problem: str | None,
    interval: timedelta,
    now: datetime,
) -> bool:
    """Store what was seen of a model's data; return whether the problem is a new one.

    `changed` is the digest and a sentence of data that the live release was not trained on. It is due once
    it was the same twice, half an `interval` apart.
    """
    plan = lock_plan(session, model)
    is_new = problem is not None and plan.data_problem != problem
    plan.data_checked_at, plan.data_problem = now, problem
    if problem is not None:
        return is_new
    digest, reason = changed or (None, None)
    if digest is None or plan.data_seen != digest or plan.data_seen_at is None:
        plan.data_seen, plan.data_seen_at = digest, now if digest else None
        plan.data_due = plan.data_reason = None
    elif abs(now - plan.data_seen_at) >= interval / 2:
        is_done = has_occasion(session, model, Trigger.DATA, digest)
        plan.data_due, plan.data_reason = (None, None) if is_done else (digest, reason)
        if not is_done:
            notify(session, "releases", model)
    return is_new


def has_occasion(session: Session, model: str, trigger: Trigger, key: str) -> bool:
    same = (Retraining.model == model) & (Retraining.trigger == trigger) & (Retraining.occasion == key)
    return bool(session.scalar(select(select(Retraining.id).where(same).exists())))
