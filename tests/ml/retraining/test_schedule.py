"""A schedule: each of its times is one retraining, whatever clocks, restarts and other controllers do."""

import threading
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, update

from db import retrainings
from db.models import Quarantine
from db.retraining_models import Retraining
from db.states import RetrainingState, Trigger
from db.superseding import end_retrainings
from ml import cron
from ml.retrain_section import RetrainSection
from tests.ml.retraining.support import (
    Sessions,
    finish,
    list_all,
    look,
    look_each,
    make_live,
    plan_of,
    roll_back,
)

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 11, 23, 3, tzinfo=UTC)
WEEKLY = RetrainSection(schedule="0 3 * * 1")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def scheduled(sessions: Sessions) -> list[datetime | None]:
    return [one.scheduled_at for one in list_all(sessions)]


def test_each_scheduled_time_is_one_retraining(sessions: Sessions) -> None:
    make_live(sessions)
    look_each(sessions, WEEKLY, MONDAY - DAY, MONDAY + 15 * DAY, 3 * HOUR)

    assert scheduled(sessions) == [MONDAY, MONDAY + 7 * DAY, MONDAY + 14 * DAY]
    assert plan_of(sessions).next_at == MONDAY + 21 * DAY


def test_what_was_due_before_the_schedule_is_not_made_up_for(sessions: Sessions) -> None:
    make_live(sessions)
    assert look(sessions, WEEKLY, MONDAY + HOUR) is None
    assert look(sessions, WEEKLY, MONDAY + 2 * HOUR) is None
    other = RetrainSection(schedule="0 2 * * 1")
    assert look(sessions, other, MONDAY + 3 * HOUR) is None

    assert look(sessions, other, MONDAY + 7 * DAY) is not None


def test_a_clock_that_goes_an_hour_back_starts_nothing_twice(sessions: Sessions) -> None:
    make_live(sessions)
    hourly = RetrainSection(schedule="0 * * * *", cooldown="1s", budget=1000)
    look_each(sessions, hourly, MONDAY - HOUR / 2, MONDAY + HOUR / 2, HOUR / 4)
    look_each(sessions, hourly, MONDAY - HOUR / 2, MONDAY + 1.5 * HOUR, HOUR / 4)

    assert scheduled(sessions) == [MONDAY, MONDAY + HOUR]


def test_what_one_retraining_stood_for_stays_done(sessions: Sessions) -> None:
    """One made up for three that were missed, and a merge ended it; then the clock goes back."""
    make_live(sessions)
    hourly = RetrainSection(schedule="0 * * * *", cooldown="1s", budget=1000)
    look(sessions, hourly, MONDAY - 3.5 * HOUR)
    assert look(sessions, hourly, MONDAY + HOUR / 60) is not None
    with sessions.begin() as session:
        end_retrainings(session, "m", "#3 was merged after it")
    look_each(sessions, hourly, MONDAY - 1.5 * HOUR, MONDAY + HOUR / 2, HOUR / 4)

    assert scheduled(sessions) == [MONDAY]


def rolled_back(sessions: Sessions, at: datetime) -> int:
    """Have a retraining of the live commit be live, and rolled back at this time; return its release."""
    bad = make_live(sessions)
    roll_back(sessions)
    with sessions.begin() as session:
        session.execute(update(Quarantine).where(Quarantine.release_id == bad).values(since=at))
    return bad


@pytest.mark.parametrize(("cooldown", "days"), [("1s", 1), ("3d", 3)])
def test_after_a_rollback_the_cooldown_begins_again(sessions: Sessions, cooldown: str, days: int) -> None:
    """However short it is and large the budget, a bad retraining is not followed by the next at once."""
    make_live(sessions)
    hourly = RetrainSection(schedule="0 * * * *", cooldown=cooldown, budget=1000)
    look(sessions, hourly, MONDAY - HOUR / 2)
    bad = rolled_back(sessions, MONDAY + HOUR / 4)
    look_each(sessions, hourly, MONDAY + HOUR / 2, MONDAY + days * DAY, HOUR)
    assert scheduled(sessions) == []
    at = f"2026-11-{23 + days} 03:15 UTC"
    waits = f"release {bad} of this commit was rolled back: the next is possible at {at}"
    assert waits in str(plan_of(sessions).waits)

    look_each(sessions, hourly, MONDAY + days * DAY, MONDAY + days * DAY + HOUR / 2, HOUR / 4)
    assert scheduled(sessions) == [MONDAY + days * DAY]


def test_a_rollback_of_a_clock_far_ahead_stops_nothing(sessions: Sessions) -> None:
    make_live(sessions)
    look(sessions, WEEKLY, MONDAY - HOUR)
    rolled_back(sessions, MONDAY + 3650 * DAY)

    assert look(sessions, WEEKLY, MONDAY) is not None


def test_a_rollback_to_another_commit_leaves_that_its_schedule(sessions: Sessions) -> None:
    make_live(sessions)
    look(sessions, WEEKLY, MONDAY - HOUR)
    make_live(sessions, "b" * 40)
    roll_back(sessions)

    assert look(sessions, WEEKLY, MONDAY) is not None


def test_a_clock_that_goes_a_day_forward_starts_one(sessions: Sessions) -> None:
    make_live(sessions)
    hourly = RetrainSection(schedule="0 * * * *", cooldown="1s", budget=1000)
    look(sessions, hourly, MONDAY - HOUR / 2)
    look_each(sessions, hourly, MONDAY + DAY - HOUR / 2, MONDAY + DAY - HOUR / 4, HOUR / 4)
    assert scheduled(sessions) == [MONDAY + DAY - HOUR]

    look_each(sessions, hourly, MONDAY, MONDAY + DAY, HOUR / 2)  # it is set right again
    assert scheduled(sessions) == [MONDAY + DAY - HOUR, MONDAY + DAY]


def test_a_clock_that_was_years_ahead_stops_nothing_for_long(sessions: Sessions) -> None:
    make_live(sessions)
    look(sessions, WEEKLY, MONDAY - HOUR)
    look_each(sessions, WEEKLY, MONDAY + 3650 * DAY, MONDAY + 3650 * DAY, HOUR)
    look_each(sessions, WEEKLY, MONDAY - HOUR, MONDAY + HOUR, HOUR)

    assert len(list_all(sessions)) == 2
    assert scheduled(sessions)[1] == MONDAY


def test_missed_times_collapse_to_one(sessions: Sessions) -> None:
    make_live(sessions)
    look(sessions, WEEKLY, MONDAY - DAY)
    look_each(sessions, WEEKLY, MONDAY + 23 * DAY, MONDAY + 24 * DAY, HOUR)

    [only] = list_all(sessions)
    assert only.scheduled_at == MONDAY + 21 * DAY
    assert only.since == MONDAY - DAY


def test_two_controllers_at_one_moment_record_one(sessions: Sessions) -> None:
    make_live(sessions)
    look(sessions, WEEKLY, MONDAY - DAY)
    gate, found = threading.Barrier(8), []

    def step() -> None:
        gate.wait()
        found.append(look(sessions, WEEKLY, MONDAY))

    threads = [threading.Thread(target=step) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len([one for one in found if one is not None]) == 1
    assert scheduled(sessions) == [MONDAY]


@pytest.mark.parametrize("schedule", ["30 2 * * *", "0 2 * * *", "0 3 * * *"])
@pytest.mark.parametrize("day", [datetime(2026, 3, 29), datetime(2026, 10, 25)])
def test_a_day_with_another_length_has_one(sessions: Sessions, schedule: str, day: datetime) -> None:
    """A cooldown of a day holds for a day of 23 hours, and an hour that comes twice counts once."""
    make_live(sessions)
    daily = RetrainSection(schedule=schedule, timezone="Europe/Berlin", budget=1000)
    start = day.replace(tzinfo=BERLIN).astimezone(UTC)
    look_each(sessions, daily, start - DAY, start + 3 * DAY, HOUR / 2)

    days = [one.scheduled_at.astimezone(BERLIN).date() for one in list_all(sessions) if one.scheduled_at]
    assert days == [(day + n * DAY).date() for n in (-1, 0, 1, 2)]
    assert all(one.created_at == one.scheduled_at for one in list_all(sessions))


def test_a_schedule_of_every_minute_is_bounded(sessions: Sessions) -> None:
    make_live(sessions)
    minutely = RetrainSection(schedule="* * * * *")
    look_each(sessions, minutely, MONDAY, MONDAY + 8 * DAY, 2 * HOUR)

    first = MONDAY + 2 * HOUR
    assert scheduled(sessions) == [first, first + DAY, first + 2 * DAY, first + 7 * DAY]
    assert "the cooldown lasts until 2026-12-01 05:00 UTC" in str(plan_of(sessions).waits)
    with sessions.begin() as session:
        session.execute(update(Retraining).values(created_at=MONDAY + 4 * DAY, scheduled_at=None))
    look(sessions, minutely, MONDAY + 8 * DAY)
    assert "budget of 3 a week is used up: the next is possible at 2026-12-04" in str(plan_of(sessions).waits)


def test_many_without_a_release_hide_no_part_of_the_budget(sessions: Sessions) -> None:
    live = make_live(sessions)
    minutely = RetrainSection(schedule="* * * * *", cooldown="1s", budget=2)
    look_each(sessions, minutely, MONDAY, MONDAY + 2 * HOUR, HOUR)
    assert len(list_all(sessions)) == 2
    rows = [
        {
            "model": "m",
            "trigger": Trigger.DATA,
            "occasion": str(number),
            "reason": "the data has changed",
            "state": RetrainingState.UNCHANGED,
            "commit": "a" * 40,
            "live_release": live,
            "created_at": MONDAY + 3 * HOUR,
            "ended_at": MONDAY + 3 * HOUR,
        }
        for number in range(retrainings.MAX_BEGUN)
    ]
    with sessions.begin() as session:
        session.execute(insert(Retraining), rows)

    assert look(sessions, minutely, MONDAY + 4 * HOUR) is None
    assert "the budget of 2 a week is used up" in str(plan_of(sessions).waits)


def test_a_busy_model_is_waited_for(sessions: Sessions) -> None:
    make_live(sessions)
    hourly = RetrainSection(schedule="0 * * * *", cooldown="1s", budget=1000)
    look(sessions, hourly, MONDAY - HOUR / 2)
    assert look(sessions, hourly, MONDAY) is not None
    assert look(sessions, hourly, MONDAY + HOUR) is None
    assert "another retraining is on its way" in str(plan_of(sessions).waits)
    finish(sessions)

    assert look(sessions, hourly, MONDAY + HOUR) is not None


def test_nothing_set_writes_nothing(sessions: Sessions) -> None:
    make_live(sessions)
    with sessions.begin() as session:
        from db import retraining_plans

        live = retraining_plans.list_live(session, ["m", "other"])
        assert list(live) == ["m"]
        assert live["m"].plan is None
    assert not RetrainSection().is_on


@pytest.mark.parametrize(
    "text",
    ["0 0 30 2 *", "* * */20 * 1L", "5L * * * *", "* * * * 5L/2", "a b c d e", "0 0 1 1 9", "*/0 * * * *"],
)
def test_a_hostile_schedule_ends_at_once(text: str) -> None:
    with pytest.raises(cron.ScheduleError):
        cron.check_schedule(text)


def test_an_hour_that_comes_twice_has_a_next_time_after_now() -> None:
    inside = datetime(2026, 10, 25, 1, 5, tzinfo=UTC)  # 02:05 for the second time
    assert cron.find_next("0,10,20,30,40,50 2 * * *", "Europe/Berlin", inside) == datetime(
        2026, 10, 26, 1, tzinfo=UTC
    )
    assert cron.find_next("*/30 * * * *", "Europe/Berlin", inside) == inside.replace(minute=30)
