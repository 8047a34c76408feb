"""An alarm of the monitor is told once, and leads to one retraining, until there is other data."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from db import monitor_results, retraining_plans, retrainings
from db.models import Appliance
from db.notification_models import Notification
from db.states import RetrainingState, Trigger
from ml.monitor.alarms import record_decay, record_drift
from ml.retrain_section import RetrainSection
from ml.settings import ModelConfig
from tests.ml.retraining.support import finish, list_all, look, make_live

Sessions = sessionmaker[Session]
DATA = {"train": {"sha256": "1"}, "test": {"sha256": "2"}}
SUGGEST = RetrainSection(drift="suggest", decay="suggest")
RETRAIN = RetrainSection(drift="retrain", decay="retrain", cooldown="1s")  # type: ignore[arg-type]


class Alarms:
    """The alarms of the live release of `m`."""

    def __init__(self, sessions: Sessions, section: RetrainSection) -> None:
        self.sessions, self.section = sessions, section
        self.model = ModelConfig("m", "a/m", "", "main", retrain=section)

    def make_live(self, commit: str = "a" * 40, data: Any = DATA) -> None:
        release = make_live(self.sessions, commit, data=data)
        with self.sessions.begin() as session:
            monitor_results.begin_measurement(session, "m", release)

    def record(self, trigger: Trigger, reason: str | None) -> None:
        with self.sessions.begin() as session:
            live = retraining_plans.list_live(session, ["m"])["m"]
        (record_drift if trigger is Trigger.DRIFT else record_decay)(self.sessions, self.model, live, reason)

    def told(self) -> list[tuple[str, bool]]:
        with self.sessions.begin() as session:
            rows = session.execute(
                select(Notification.event, Notification.ended_at)
                .where(Notification.event.startswith("model."))
                .order_by(Notification.event)
            )
            return [(row.event, row.ended_at is None) for row in rows]


@pytest.fixture
def suggesting(sessions: Sessions) -> Alarms:
    with sessions.begin() as session:
        session.merge(Appliance(id=1, mode="repository"))
        session.flush()
        session.execute(update(Appliance).values(has_notifications=True))
    made = Alarms(sessions, SUGGEST)
    made.make_live()
    return made


@pytest.fixture
def retraining(sessions: Sessions) -> Alarms:
    made = Alarms(sessions, RETRAIN)
    made.make_live()
    return made


def test_an_alarm_is_told_once_and_suggested_once(suggesting: Alarms) -> None:
    for _ in range(3):
        suggesting.record(Trigger.DRIFT, "age moved")
    [made] = list_all(suggesting.sessions)
    assert (made.state, made.trigger) == (RetrainingState.SUGGESTED, Trigger.DRIFT)
    assert made.reason == "the requests have changed: age moved"
    assert suggesting.told() == [("model.drift", True)]

    suggesting.record(Trigger.DRIFT, None)
    suggesting.record(Trigger.DECAY, "MAE rose")
    assert suggesting.told() == [("model.decay", True), ("model.drift", False)]
    assert [one.trigger for one in list_all(suggesting.sessions)] == [Trigger.DRIFT, Trigger.DECAY]


def test_what_was_suggested_and_led_to_nothing_is_quiet(suggesting: Alarms) -> None:
    suggesting.record(Trigger.DRIFT, "age moved")
    with suggesting.sessions.begin() as session:
        retrainings.accept(session, "m", 1, "dana")
        retrainings.end_unchanged(session, 1, "nothing has changed")
    suggesting.record(Trigger.DECAY, "MAE rose")
    assert len(list_all(suggesting.sessions)) == 1

    suggesting.make_live(data={"train": {"sha256": "new"}})
    suggesting.record(Trigger.DECAY, "MAE rose")
    assert [one.state for one in list_all(suggesting.sessions)][1:] == [RetrainingState.SUGGESTED]


def test_off_tells_and_suggests_nothing(sessions: Sessions) -> None:
    alarms = Alarms(sessions, RetrainSection())
    alarms.make_live()
    alarms.record(Trigger.DRIFT, "age moved")
    assert list_all(sessions) == []
    assert look(sessions, RetrainSection()) is None


def test_an_alarm_retrains_once_whatever_ends_it(retraining: Alarms) -> None:
    assert look(retraining.sessions, RETRAIN) is None
    retraining.record(Trigger.DRIFT, "age moved")
    made = look(retraining.sessions, RETRAIN)
    assert made is not None
    assert (made.trigger, made.state) == (Trigger.DRIFT, RetrainingState.WAITING)
    finish(retraining.sessions)  # it is rejected

    retraining.record(Trigger.DRIFT, "age moved on")
    retraining.record(Trigger.DECAY, "MAE rose")
    later = datetime.now(UTC) + timedelta(hours=1)
    assert look(retraining.sessions, RETRAIN, later) is None

    retraining.make_live(data={"train": {"sha256": "new"}})
    assert look(retraining.sessions, RETRAIN, later) is None  # nothing is known of it yet
    retraining.record(Trigger.DECAY, "MAE rose")
    made = look(retraining.sessions, RETRAIN, later)
    assert made is not None
    assert made.reason == "the predictions have become worse: MAE rose"


def test_the_cooldown_and_a_pause_hold_an_alarm_back(sessions: Sessions) -> None:
    section = RetrainSection(drift="retrain")
    alarms = Alarms(sessions, section)
    alarms.make_live()
    alarms.record(Trigger.DRIFT, "age moved")
    with sessions.begin() as session:
        retraining_plans.pause(session, "m", who="dana", why=None)
    assert look(sessions, section) is None
    with sessions.begin() as session:
        retraining_plans.resume(session, "m")
    assert look(sessions, section) is not None
    finish(sessions)

    alarms.make_live(data={"train": {"sha256": "new"}})
    alarms.record(Trigger.DRIFT, "age moved")
    assert look(sessions, section) is None
    with sessions.begin() as session:
        waits = retraining_plans.lock_plan(session, "m").waits
    assert waits is not None
    assert waits.startswith("the requests have changed: age moved: the cooldown lasts until ")


def test_a_suggestion_that_stands_does_not_stop_retrain(suggesting: Alarms) -> None:
    suggesting.record(Trigger.DRIFT, "age moved")
    assert look(suggesting.sessions, RETRAIN) is not None
    assert [one.state for one in list_all(suggesting.sessions)] == [
        RetrainingState.SUGGESTED,
        RetrainingState.WAITING,
    ]
