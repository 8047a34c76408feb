"""A retraining ends as soon as its commit is not the newest any more; nothing of it goes live then."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db import claims, deployments, release_queue, retraining_plans, retrainings, stages
from db.claims import Claim, ClaimLostError, Deployed
from db.models import Release, StageName
from db.pull_requests import Accepted
from db.retraining_models import Retraining
from db.retrainings import Occasion
from db.states import Cause, RetrainingState, StageOutcome, Status, Trigger
from tests.ml.retraining.support import make_live, roll_back

Sessions = sessionmaker[Session]
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
INTERVAL = timedelta(minutes=15)


def begin(sessions: Sessions, key: str = "1") -> tuple[int, Claim]:
    """Have a retraining be built; return its number and the builder's claim."""
    with sessions.begin() as session:
        deployments.lock_model(session, "m")
        made = retrainings.request(session, "m", Occasion(Trigger.SCHEDULE, key, "it was due", NOW))
        assert made is not None
        release = retrainings.start(session, made.id, "a/m", warm_start=True)
        assert release is not None
        claim = claims.claim(session, release.id)
        assert claim is not None
        claims.begin_stage(session, claim, StageName.TRAIN)
        return made.id, claim


def read(sessions: Sessions, claim: Claim) -> Release:
    with sessions.begin() as session:
        return session.get_one(Release, claim.release.id)


def suggest(sessions: Sessions) -> int:
    with sessions.begin() as session:
        made = retrainings.suggest(session, "m", Occasion(Trigger.DRIFT, "7", "it drifts"))
        assert made is not None
        return made.id


def state(sessions: Sessions, number: int) -> RetrainingState:
    with sessions.begin() as session:
        return session.get_one(Retraining, number).state


def test_a_retraining_begins_with_the_live_model(sessions: Sessions) -> None:
    live = make_live(sessions)
    number, claim = begin(sessions)
    release = read(sessions, claim)

    assert (release.commit, release.trigger, release.title) == ("a" * 40, Trigger.SCHEDULE, "it was due")
    assert release.warm_start == live
    assert state(sessions, number) is RetrainingState.STARTED


def test_another_commit_that_goes_live_ends_it(sessions: Sessions) -> None:
    make_live(sessions)
    _, claim = begin(sessions)
    number = suggest(sessions)
    make_live(sessions, "b" * 40)

    release = read(sessions, claim)
    assert (release.status, release.reason) == (Status.SUPERSEDED, f"commit {'b' * 8} went live")
    assert state(sessions, number) is RetrainingState.SUPERSEDED
    with sessions.begin() as session:
        assert release_queue.find_ended(session, [release.id]) == [release.id]
        found = session.get_one(Release, release.id, options=[])
        assert [s.outcome for s in session.query(stages.Stage).filter_by(release_id=found.id)] == [
            StageOutcome.FAILED
        ]
    with pytest.raises(ClaimLostError), sessions.begin() as session:
        claims.settle(session, claim, Deployed(deployments.take_snapshot(session, "m")))


def test_the_same_commit_that_goes_live_does_not(sessions: Sessions) -> None:
    make_live(sessions)
    _, claim = begin(sessions)
    make_live(sessions)

    assert read(sessions, claim).status is Status.BUILDING


def test_a_rollback_to_the_same_commit_ends_it(sessions: Sessions) -> None:
    """What is on its way would be as bad as what was rolled back, or was compared with that."""
    make_live(sessions)
    bad = make_live(sessions)
    _, claim = begin(sessions)
    number = suggest(sessions)
    roll_back(sessions)

    release = read(sessions, claim)
    assert (release.status, release.reason) == (Status.SUPERSEDED, f"release {bad} was rolled back")
    assert state(sessions, number) is RetrainingState.SUPERSEDED


def test_nothing_is_trained_while_a_rollback_is_under_way(sessions: Sessions) -> None:
    first = make_live(sessions)
    make_live(sessions)
    with sessions.begin() as session:
        deployments.lock_model(session, "m")
        made = retrainings.request(session, "m", Occasion(Trigger.SCHEDULE, "1", "it was due", NOW))
        assert made is not None
        wanted = deployments.roll_back(session, "m", cause=Cause.ROLLBACK, who="dana", why=None)
    with sessions.begin() as session:
        assert retrainings.start(session, made.id, "a/m", warm_start=False) is None
        deployments.mark_live(session, wanted)

    assert state(sessions, made.id) is RetrainingState.SUPERSEDED
    with sessions.begin() as session:
        live = deployments.find_live(session, "m")
        assert live is not None
        assert live.release_id == first


def test_a_retraining_whose_process_always_dies_fails(sessions: Sessions) -> None:
    make_live(sessions)
    with sessions.begin() as session:
        deployments.lock_model(session, "m")
        made = retrainings.request(session, "m", Occasion(Trigger.DATA, "1", "new data"))
        assert made is not None

    def attempt() -> bool:
        with sessions.begin() as session:
            return retrainings.begin_attempt(session, made.id) is not None

    assert [attempt() for _ in range(5)] == [True] * 5
    with sessions.begin() as session:  # one was stopped on purpose
        retrainings.give_attempt_back(session, made.id)
    assert [attempt() for _ in range(3)] == [True, False, False]
    with sessions.begin() as session:
        ended = session.get_one(Retraining, made.id)
        assert (ended.state, ended.ended_at is not None) == (RetrainingState.FAILED, True)
        assert ended.outcome == "the process that makes its release died 5 times: is there enough memory?"
        assert retrainings.explain_block(session, "m") is None


def test_a_merge_that_is_queued_ends_it(sessions: Sessions) -> None:
    make_live(sessions)
    _, claim = begin(sessions)
    with sessions.begin() as session:
        release_queue.queue_merges(session, "m", [Accepted("a/m", 3, None, None, "c" * 40, NOW)])

    release = read(sessions, claim)
    assert release.status is Status.SUPERSEDED
    assert release.reason == "#3 was merged after it, before it was finished"


def test_the_gate_never_replaces_another_commit_with_it(sessions: Sessions) -> None:
    """Another commit is wanted, and not live yet: the gate has compared with that, and would pass it."""
    make_live(sessions)
    _, claim = begin(sessions)
    with sessions.begin() as session:
        other = Release(model="m", repository="a/m", commit="b" * 40, status=Status.DEPLOYED)
        session.add(other)
        session.flush()
        deployments.create_decision(
            session, "m", other.id, Cause.OPERATOR, who="dana", why=None, snapshot=None
        )
    with sessions.begin() as session:
        claims.settle(session, claim, Deployed(deployments.take_snapshot(session, "m")))

    assert read(sessions, claim).status is Status.SUPERSEDED
    with sessions.begin() as session:
        wanted = deployments.find_wanted(session, "m")
        assert wanted is not None
        assert wanted.release_id == other.id


def test_an_occasion_has_one_retraining(sessions: Sessions) -> None:
    make_live(sessions)
    begin(sessions)
    with sessions.begin() as session:
        again = Occasion(Trigger.SCHEDULE, "1", "it was due once more", NOW)
        assert retrainings.request(session, "m", again) is None
        assert retrainings.request(session, "m", Occasion(Trigger.DATA, "1", "it has changed")) is not None


def seen(sessions: Sessions, digest: str | None, after: timedelta, problem: str | None = None) -> str | None:
    """Let the data look like this, so long after NOW; return what is due."""
    with sessions.begin() as session:
        changed = (digest, "the data has changed") if digest else None
        retraining_plans.record_data(
            session, "m", changed, problem=problem, interval=INTERVAL, now=NOW + after
        )
        plan = retraining_plans.find_plan(session, "m")
        return plan.data_due if plan else None


def test_data_is_due_once_it_was_the_same_twice(sessions: Sessions) -> None:
    make_live(sessions)
    assert seen(sessions, "one", timedelta()) is None
    assert seen(sessions, "one", timedelta(seconds=2)) is None  # another controller, at the same time
    assert seen(sessions, "two", INTERVAL) is None  # it is still being written
    assert seen(sessions, None, 2 * INTERVAL, "it does not answer") is None
    assert seen(sessions, "two", 3 * INTERVAL) == "two"
    assert seen(sessions, None, 4 * INTERVAL) is None  # it is as before again
    assert seen(sessions, "two", 5 * INTERVAL) is None
    assert seen(sessions, "two", 2 * INTERVAL) == "two"  # a clock that was set back


def test_data_that_was_tried_is_not_due_again(sessions: Sessions) -> None:
    make_live(sessions)
    with sessions.begin() as session:
        retrainings.request(session, "m", Occasion(Trigger.DATA, "one", "it has changed"))
    seen(sessions, "one", timedelta())

    assert seen(sessions, "one", INTERVAL) is None
