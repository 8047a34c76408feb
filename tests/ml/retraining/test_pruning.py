"""Retrainings are forgotten when nothing needs them: not what tells that an occasion is done."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db import retraining_pruning, retrainings
from db.retraining_models import Retraining, RetrainingPlan
from db.retrainings import Occasion
from db.session import read_time
from db.states import RetrainingState, Trigger
from ml.controller.pruning import UNFOLLOWED_SECONDS, prune_unfollowed
from ml.paths import HomeLayout
from ml.retrain_section import RetrainSection
from ml.settings import MlSettings
from tests.ml.retraining.support import Sessions, finish, list_all, look, make_live, plan_of

LONG_AGO = timedelta(days=31)


def record(session: Session, key: str, trigger: Trigger, state: RetrainingState, *, days: int = 31) -> None:
    made = retrainings.request(session, "m", Occasion(trigger, key, "it was due"), state=state)
    assert made is not None
    made.created_at = func.now() - timedelta(days=days)


def prune(sessions: Sessions) -> list[str]:
    with sessions.begin() as session:
        retraining_pruning.prune_retrainings(session, "m")
    return [one.occasion for one in list_all(sessions)]


def test_what_made_no_release_is_forgotten(sessions: Sessions) -> None:
    make_live(sessions)
    with sessions.begin() as session:
        record(session, "made", Trigger.DATA, RetrainingState.WAITING)
    finish(sessions)
    with sessions.begin() as session:
        record(session, "same", Trigger.DATA, RetrainingState.UNCHANGED)
        record(session, "merged", Trigger.DRIFT, RetrainingState.SUPERSEDED)
        record(session, "young", Trigger.DATA, RetrainingState.UNCHANGED, days=29)
        record(session, "offered", Trigger.DRIFT, RetrainingState.SUGGESTED)
        record(session, "newest", Trigger.DRIFT, RetrainingState.SUPERSEDED)

    assert prune(sessions) == ["made", "young", "offered", "newest"]


def test_a_yearly_schedule_is_not_due_twice(sessions: Sessions) -> None:
    make_live(sessions)
    with sessions.begin() as session:
        now = read_time(session)
    yearly = RetrainSection(schedule=f"0 3 {(now - 2 * LONG_AGO).day} {(now - 2 * LONG_AGO).month} *")
    look(sessions, yearly, now - 2.1 * LONG_AGO)
    made = look(sessions, yearly, now - 1.9 * LONG_AGO)
    assert made is not None
    with sessions.begin() as session:
        retrainings.end_unchanged(session, made.id, "no release was made")
        session.execute(update(Retraining).values(created_at=now - LONG_AGO))
        record(session, "clock", Trigger.SCHEDULE, RetrainingState.UNCHANGED)  # a newer row, of no time
    prune(sessions)

    assert look(sessions, yearly, now) is None


def test_a_model_that_is_gone_leaves_no_plan(
    sessions: Sessions,
    sessions_of: Callable[[str], Sessions],
    url_of: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLIPWAY_REPOSITORY", "acme/other")
    monkeypatch.setenv("DATABASE_URL", url_of("watch"))
    home, watch = HomeLayout(tmp_path), sessions_of("watch")
    make_live(sessions)
    with sessions.begin() as session:
        record(session, "made", Trigger.DATA, RetrainingState.WAITING)
    finish(sessions)
    with sessions.begin() as session:
        record(session, "offered", Trigger.DRIFT, RetrainingState.SUGGESTED)
        session.add(RetrainingPlan(model="m", paused_by="dana", paused_at=func.now()))
    prune_unfollowed(watch, home, MlSettings())
    assert plan_of(sessions).paused_by == "dana"

    os.utime(home.unfollowed / "m", (time.time() - UNFOLLOWED_SECONDS - 60,) * 2)
    prune_unfollowed(watch, home, MlSettings())

    with sessions.begin() as session:
        assert session.scalars(select(RetrainingPlan)).all() == []
    assert [one.occasion for one in list_all(sessions)] == ["made"]
