"""Retrainings that fall due: by a schedule, or because the data has changed; limits and pauses hold."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from loguru import logger
from sqlalchemy.orm import Session, sessionmaker

from db import alarms, deployments, retraining_plans, retrainings, rollbacks
from db.retraining_models import Retraining, RetrainingPlan
from db.retraining_plans import LiveModel
from db.retrainings import Occasion
from db.session import DB_ERRORS, read_time
from db.states import Trigger
from ml import cron
from ml.retrain_limits import begun_since, find_limit, find_rollback_limit
from ml.retrain_section import RetrainSection
from ml.settings import ModelConfig

POSTGRES_AWAY = os.EX_TEMPFAIL  # the exit status of a look at data that could store nothing


@dataclass(frozen=True)
class Due:
    """An occasion that has come, and when; a scheduled one stands for all that were due after `since`."""

    occasion: Occasion
    at: datetime
    since: datetime | None = None


def plan_model(
    sessions: sessionmaker[Session], model: ModelConfig, live: LiveModel, data_seconds: float
) -> bool:
    """Record the retraining of a model that is due; return whether its data is to be looked at.

    Of a model for which nothing is set, nothing is read or written.
    """
    section = model.find_retrain(live.retrain)
    if not section.is_on and live.plan is None:
        return False
    with sessions.begin() as session:
        now = read_time(session)
        plan_retraining(session, live, section, now)
    return is_data_due(live, section, timedelta(seconds=data_seconds), now)


def record_died_checks(sessions: sessionmaker[Session], ended: Mapping[str, int], seconds: float) -> None:
    """Store for a person that looks at data died: these cannot store it themselves."""
    for name, status in ended.items():
        kind, _, model = name.partition(" ")
        if kind != "data" or status in (0, POSTGRES_AWAY):
            continue
        problem = f"the process that looks at the data died (exit status {status}): is there enough memory?"
        with suppress(*DB_ERRORS), sessions.begin() as session:  # else the next one stores it
            now, interval = read_time(session), timedelta(seconds=seconds)
            if retraining_plans.record_data(
                session, model, None, problem=problem, interval=interval, now=now
            ):
                logger.error("whether the data of {} has changed cannot be told: {}", model, problem)


def plan_retraining(
    session: Session, live: LiveModel, section: RetrainSection, now: datetime
) -> Retraining | None:
    """Keep a model's plan up to date, and record the retraining that is due, if any may begin.

    `now` is by Postgres's clock. Where nothing has changed since the last call, nothing is locked or written.
    """
    if live.plan is not None and live.plan.paused_at is not None:
        return None
    if live.plan is None or not is_followed(live.plan, section) or find_due(session, live, section, now):
        plan = retraining_plans.lock_plan(session, live.model)
        if plan.paused_at is not None:
            return None
        follow_settings(plan, section, now)
        return begin_due(session, live, plan, section, now)
    if live.plan.next_at != find_next(section, now) or live.plan.waits is not None:
        plan = retraining_plans.lock_plan(session, live.model)
        plan.next_at, plan.waits = find_next(section, now), None
    return None


def is_followed(plan: RetrainingPlan, section: RetrainSection) -> bool:
    has_data = bool(plan.data_seen or plan.data_problem or plan.data_checked_at)
    zone = section.timezone if section.schedule else None
    return (plan.schedule, plan.timezone) == (section.schedule, zone) and (section.on_data or not has_data)


def follow_settings(plan: RetrainingPlan, section: RetrainSection, now: datetime) -> None:
    """Follow another schedule from now on, and forget the data where it is no longer watched."""
    zone = section.timezone if section.schedule else None
    if (plan.schedule, plan.timezone) != (section.schedule, zone):
        plan.schedule, plan.timezone = section.schedule, zone
        plan.since = now if section.schedule else None
    if not section.on_data:
        plan.data_seen = plan.data_seen_at = plan.data_due = plan.data_reason = None
        plan.data_checked_at = plan.data_problem = None


def begin_due(
    session: Session, live: LiveModel, plan: RetrainingPlan, section: RetrainSection, now: datetime
) -> Retraining | None:
    """Record the retraining that is due, unless a limit or something on its way holds it back."""
    plan.next_at, plan.waits = find_next(section, now), None
    due = find_due(session, replace(live, plan=plan), section, now)
    if due is None:
        return None
    deployments.lock_model(session, live.model)
    begun = retrainings.list_begun(session, live.model, begun_since(section, now), now)
    rolled_back = rollbacks.find_newest_of_commit(session, live.model, live.commit)
    limit = find_rollback_limit(rolled_back, section, now) or find_limit(begun, section, due.at, now)
    if limit is not None:
        plan.next_at, plan.waits = limit.until, f"{due.occasion.reason}: {limit.reason}"
        return None
    if (block := retrainings.explain_block(session, live.model)) is not None:
        plan.next_at, plan.waits = now, f"{due.occasion.reason}: {block}"
        return None
    made = retrainings.request(session, live.model, due.occasion, since=due.since, now=now)
    if due.occasion.trigger is Trigger.DATA:
        plan.data_due = plan.data_reason = None
    if made is not None:
        logger.info("{} is retrained: {}", live.model, due.occasion.reason)
    return made


def find_due(session: Session, live: LiveModel, section: RetrainSection, now: datetime) -> Due | None:
    """Return what has fallen due and has no retraining yet: new data first, as its training serves all."""
    plan = live.plan
    if plan is None:
        return None
    if section.on_data and plan.data_due is not None:
        reason = plan.data_reason or "the data has changed"
        return Due(Occasion(Trigger.DATA, plan.data_due, reason), now)
    return find_scheduled(session, plan, section, now) or find_alarm(session, live, section, now)


def find_scheduled(
    session: Session, plan: RetrainingPlan, section: RetrainSection, now: datetime
) -> Due | None:
    if section.schedule is None or plan.since is None:
        return None
    at = cron.find_previous(section.schedule, section.timezone, to_minute(now))
    if at is None or at <= plan.since:
        return None
    last, is_done = retrainings.find_previous(session, plan.model, at, now)
    if is_done:
        return None
    reason = f"the schedule {section.schedule} ({section.timezone}) was due at {at:%Y-%m-%d %H:%M} UTC"
    occasion = Occasion(Trigger.SCHEDULE, at.isoformat(), reason, at)
    return Due(occasion, at, max(plan.since, last) if last else plan.since)


def find_alarm(session: Session, live: LiveModel, section: RetrainSection, now: datetime) -> Due | None:
    """Return an alarm of the monitor that begins a retraining; of one that only suggests it, nothing."""
    for trigger, reaction in ((Trigger.DECAY, section.decay), (Trigger.DRIFT, section.drift)):
        if reaction == "retrain":
            occasion = alarms.find_alarm(session, live.model, live.release, trigger)
            if occasion is not None:
                return Due(occasion, now)
    return None


def find_next(section: RetrainSection, now: datetime) -> datetime | None:
    if section.schedule is None:
        return None
    return cron.find_next(section.schedule, section.timezone, to_minute(now))


def is_data_due(live: LiveModel, section: RetrainSection, interval: timedelta, now: datetime) -> bool:
    """Return whether to ask for the versions of a model's data; a clock that was set back makes it due."""
    if not section.on_data or (live.plan is not None and live.plan.paused_at is not None):
        return False
    last = live.plan.data_checked_at if live.plan is not None else None
    return last is None or not timedelta() <= now - last < interval


def to_minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
