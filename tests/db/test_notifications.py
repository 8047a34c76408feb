"""People are told of what happens in the transaction that causes it, as the role that does it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from db import appliance, claims, deployments, notification_deliveries, notifications
from db.claims import Deployed, Finished, Retry
from db.models import Release
from db.notification_models import Notification
from db.notifications import Event
from db.states import Status, Trigger

Sessions = sessionmaker[Session]


@pytest.fixture(autouse=True)
def somebody(sessions: Sessions) -> None:
    with sessions.begin() as session:
        appliance.set_mode(session, "repository")
        notification_deliveries.set_on(session, ["somebody"])


@pytest.fixture
def watch(sessions_of: Callable[[str], Sessions]) -> Sessions:
    return sessions_of("watch")


@pytest.fixture
def serve(sessions_of: Callable[[str], Sessions]) -> Sessions:
    return sessions_of("serve")


def queue(sessions: Sessions, commit: str, trigger: Trigger = Trigger.MERGE) -> int:
    with sessions.begin() as session:
        release = Release(model="m", repository="a/m", commit=commit, trigger=trigger, artifact="a")
        release.pull_request = 7
        session.add(release)
        session.flush()
        return release.id


def build(sessions: Sessions, commit: str, status: Status, trigger: Trigger = Trigger.MERGE) -> int:
    release = queue(sessions, commit, trigger)
    with sessions.begin() as session:
        claim = claims.claim(session, release)
        assert claim is not None
        snapshot = deployments.take_snapshot(session, "m")
        outcome = Deployed(snapshot) if status is Status.DEPLOYED else Finished(status, f"{commit} is worse")
        claims.settle(session, claim, outcome)
    return release


def end(sessions: Sessions, *, live: bool = True) -> None:
    with sessions.begin() as session:
        wanted = deployments.find_wanted(session, "m")
        assert wanted is not None
        if live:
            deployments.mark_live(session, wanted)
        else:
            deployments.mark_failed(session, wanted, "no worker answers")


def told(sessions: Sessions) -> list[tuple[str, dict[str, Any]]]:
    """What is due or delivered, and not over."""
    with sessions() as session:
        rows = session.scalars(
            select(Notification)
            .where(Notification.ended_at.is_(None), Notification.due_at.is_not(None))
            .order_by(Notification.occurred_at)
        )
        return [(row.event, row.facts) for row in rows]


def events(sessions: Sessions) -> list[str]:
    return [event for event, _ in told(sessions)]


def test_live_rejected_and_rolled_back_are_told(watch: Sessions, serve: Sessions, sessions: Sessions) -> None:
    first = build(watch, "a", Status.DEPLOYED)
    assert events(sessions) == []  # wanted is not live
    end(serve)
    rejected = build(watch, "b", Status.REJECTED)
    assert told(sessions)[1][1]["reason"] == "b is worse"
    second = build(watch, "c", Status.DEPLOYED)
    end(serve)
    with serve.begin() as session:
        deployments.roll_back(session, "m", cause=deployments.Cause.OPERATOR, who="dana", why="wrong sums")
    end(serve)

    found = dict(told(sessions))
    assert events(sessions) == ["release.rejected", "release.rolled_back"]  # one message for one thing
    assert found["release.rejected"]["release"] == rejected
    rolled_back = found["release.rolled_back"]
    assert (rolled_back["release"], rolled_back["back_to"]) == (second, first)
    assert (rolled_back["who"], rolled_back["reason"]) == ("dana", "wrong sums")


def test_a_newer_live_release_takes_the_place(watch: Sessions, serve: Sessions, sessions: Sessions) -> None:
    for commit in "abc":
        newest = build(watch, commit, Status.DEPLOYED)
        end(serve)

    [(event, facts)] = told(sessions)
    assert event == "release.live"
    assert facts["release"] == newest


def test_a_check_is_told_of_on_its_pull_request_alone(watch: Sessions, sessions: Sessions) -> None:
    build(watch, "a", Status.REJECTED, Trigger.CHECK)
    assert events(sessions) == []


def test_a_release_that_is_given_up_is_told(watch: Sessions, sessions: Sessions) -> None:
    release = queue(watch, "a")
    for _ in range(claims.MAX_ATTEMPTS):
        assert events(sessions) == []
        with watch.begin() as session:
            claim = claims.claim(session, release)
            assert claim is not None
            claims.settle(session, claim, Retry("the disk is away", timedelta()))

    assert events(sessions) == ["release.failed"]


def test_nothing_live_is_told_until_something_is(
    watch: Sessions, serve: Sessions, sessions: Sessions
) -> None:
    build(watch, "a", Status.DEPLOYED)
    end(serve, live=False)
    [(event, facts)] = told(sessions)
    assert event == "model.nothing_live"
    assert facts["reason"] == "no worker answers"

    build(watch, "b", Status.DEPLOYED)
    end(serve)
    assert events(sessions) == ["release.live"]


def test_a_live_release_that_is_not_restored_is_told(
    watch: Sessions, serve: Sessions, sessions: Sessions
) -> None:
    build(watch, "a", Status.DEPLOYED)
    end(serve)
    with serve.begin() as session:
        live = deployments.find_live(session, "m")
        assert live is not None
        deployments.record_not_restored(session, live, "its files are gone")
    assert events(sessions) == ["release.live", "model.nothing_live"]

    with serve.begin() as session:  # it was restored after all
        deployments.mark_live(session, live)
    assert events(sessions) == ["release.live"]


def test_one_that_does_not_start_beside_a_live_one_failed(
    watch: Sessions, serve: Sessions, sessions: Sessions
) -> None:
    build(watch, "a", Status.DEPLOYED)
    end(serve)
    build(watch, "b", Status.DEPLOYED)
    end(serve, live=False)

    assert events(sessions) == ["release.live", "release.failed"]


def test_what_is_taken_back_is_told_to_nobody(watch: Sessions, sessions: Sessions) -> None:
    with watch() as session:
        notifications.put_event(session, Event.REJECTED, "release 1", {"model": "m"})
        session.rollback()
    assert events(sessions) == []


@pytest.mark.parametrize(
    ("service", "dependency", "event"),
    [("vcs", "github", "github.unreachable"), ("watch", "tracking", "mlflow.unreachable")],
)
def test_unreachable_is_told_after_an_hour(
    service: str,
    dependency: appliance.Dependency,
    event: str,
    sessions: Sessions,
    sessions_of: Callable[[str], Sessions],
) -> None:
    def set_problem(problem: str | None) -> None:
        with sessions_of(service).begin() as session:
            appliance.set_problem(session, dependency, problem)

    def seconds() -> float:
        with sessions() as session:
            due = session.scalar(select(func.extract("epoch", Notification.due_at - func.now())))
            return float(due or 0)

    set_problem("it does not answer")
    assert events(sessions) == [event]
    assert 3590 < seconds() <= 3600
    with sessions.begin() as session:
        session.execute(update(Notification).values(due_at=func.now() + timedelta(minutes=10)))
    set_problem("it answers 502")  # the same state, in other words
    assert seconds() < 610
    assert told(sessions)[0][1] == {"problem": "it answers 502"}
    set_problem(None)
    assert events(sessions) == []


def test_a_known_problem_is_told_to_who_is_set_later(sessions: Sessions) -> None:
    with sessions.begin() as session:
        notification_deliveries.set_on(session, [])
        appliance.set_problem(session, "github", "it does not answer")
    assert events(sessions) == []
    with sessions.begin() as session:
        notification_deliveries.set_on(session, ["somebody"])
        appliance.tell_known_problems(session)

    assert events(sessions) == ["github.unreachable"]


@pytest.mark.parametrize("service", ["watch", "serve"])
def test_only_vcs_knows_who_is_told(service: str, sessions_of: Callable[[str], Sessions]) -> None:
    with sessions_of(service)() as session, pytest.raises(Exception, match="permission denied"):
        session.execute(text("SELECT receiver FROM vcs.notification_deliveries"))


def test_facts_are_bounded_and_can_be_stored(watch: Sessions, sessions: Sessions) -> None:
    with watch.begin() as session:
        facts = {"model": "m\x00\ud800", "reason": "x" * 1_000_000, "value": float("nan")}
        notifications.put_event(session, Event.REJECTED, "release 1", facts)

    [(_, stored)] = told(sessions)
    assert len(stored["reason"]) < 3000
    assert stored["model"] == "m\\x00\\ud800"
