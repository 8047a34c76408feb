"""A model with a live release, and what falls due of it at any time."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db import deployments, retraining_plans, retrainings
from db.models import Release
from db.retraining_models import Retraining, RetrainingPlan
from db.session import read_time
from db.states import Cause, Status, Trigger
from ml.controller.retraining import plan_retraining
from ml.retrain_section import RetrainSection

Sessions = sessionmaker[Session]


def make_live(sessions: Sessions, commit: str = "a" * 40, model: str = "m", **facts: Any) -> int:
    """Make a release of the commit live; return its number."""
    with sessions.begin() as session:
        release = Release(
            model=model,
            repository=f"a/{model}",
            commit=commit,
            trigger=Trigger.MANUAL,
            status=Status.DEPLOYED,
            artifact=hashlib.sha256(b"").hexdigest(),
            **facts,
        )
        session.add(release)
        session.flush()
        made = deployments.create_decision(
            session, model, release.id, Cause.OPERATOR, who="dana", why=None, snapshot=None
        )
        deployments.mark_live(session, made)
        return release.id


def roll_back(sessions: Sessions, model: str = "m") -> int:
    """Roll back what is live, and return the release that is live then."""
    with sessions.begin() as session:
        made = deployments.roll_back(session, model, cause=Cause.ROLLBACK, who="dana", why="it is worse")
        deployments.mark_live(session, made)
        return made.release_id


def look(
    sessions: Sessions, section: RetrainSection, now: datetime | None = None, model: str = "m"
) -> Retraining | None:
    """Take the controller's step for one model, at `now` by Postgres's clock."""
    with sessions.begin() as session:
        live = retraining_plans.list_live(session, [model])[model]
        return plan_retraining(session, live, section, now or read_time(session))


def look_each(
    sessions: Sessions, section: RetrainSection, start: datetime, end: datetime, step: timedelta
) -> None:
    """Look again and again between two times; each release that falls due has ended by the next look."""
    while start <= end:
        if look(sessions, section, start) is not None:
            finish(sessions)
        start += step


def finish(sessions: Sessions) -> None:
    """Let what waits make its release, and let that end."""
    with sessions.begin() as session:
        for number in retrainings.list_waiting(session, ["m"]):
            made = retrainings.start(session, number, "a/m", warm_start=False)
            assert made is not None
            made.status = Status.REJECTED


def list_all(sessions: Sessions) -> Sequence[Retraining]:
    """Oldest first."""
    with sessions.begin() as session:
        return session.scalars(select(Retraining).order_by(Retraining.id)).all()


def plan_of(sessions: Sessions) -> RetrainingPlan:
    with sessions.begin() as session:
        return session.get_one(RetrainingPlan, "m")
