"""Decisions: the newest wins, a failed one never does, a gate's holds only while what it saw is still so."""

from contextlib import nullcontext

import pytest
from sqlalchemy import text, update
from sqlalchemy.orm import Session, sessionmaker

from db import claims, deployment_history, deployments, release_queue, releases, rollbacks
from db.claims import Claim, Deployed
from db.deployments import ConflictError, DeploymentSnapshot, RefusedError
from db.models import Deployment, Release
from db.states import Cause, DeploymentState, Status, Trigger

Sessions = sessionmaker[Session]


def a_claim(sessions: Sessions, commit: str, trigger: Trigger = Trigger.MERGE) -> Claim:
    with sessions.begin() as session:
        release = Release(model="m", repository="a/m", commit=commit, trigger=trigger, artifact="a")
        session.add(release)
        session.flush()
        claim = claims.claim(session, release.id)
        assert claim is not None
        return claim


def decide(sessions: Sessions, release: int) -> int:
    with sessions.begin() as session:
        made = deployments.create_decision(
            session,
            "m",
            release,
            Cause.OPERATOR,
            who="dana",
            why=None,
            snapshot=deployments.take_snapshot(session, "m"),
        )
        return made.id


def say(sessions: Sessions, *, live: bool) -> None:
    with sessions.begin() as session:
        deployment = deployments.find_wanted(session, "m")
        assert deployment is not None
        if live:
            deployments.mark_live(session, deployment)
        else:
            deployments.mark_failed(session, deployment, "it could not start")


def live(sessions: Sessions) -> int | None:
    with sessions.begin() as session:
        deployment = deployments.find_live(session, "m")
        return deployment.release_id if deployment else None


def test_a_failed_deployment_never_wins(sessions: Sessions) -> None:
    good, bad = a_claim(sessions, "1"), a_claim(sessions, "2")
    decide(sessions, good.release.id)
    say(sessions, live=True)
    decide(sessions, bad.release.id)
    say(sessions, live=False)

    assert live(sessions) == good.release.id
    with sessions.begin() as session:
        assert deployments.find_wanted(session, "m") is None


def test_older_wishes_end_when_a_newer_one_is_live(sessions: Sessions) -> None:
    one, two = a_claim(sessions, "1"), a_claim(sessions, "2")
    decide(sessions, one.release.id)
    decide(sessions, two.release.id)
    say(sessions, live=True)

    assert live(sessions) == two.release.id
    with sessions.begin() as session:
        assert deployments.find_wanted(session, "m") is None


def test_a_gate_that_was_overtaken_is_asked_again(sessions: Sessions) -> None:
    slow, quick = a_claim(sessions, "1"), a_claim(sessions, "2")
    with sessions.begin() as session:
        seen = deployments.take_snapshot(session, "m")
    decide(sessions, quick.release.id)

    with pytest.raises(ConflictError), sessions.begin() as session:
        claims.settle(session, slow, Deployed(seen))
    with sessions.begin() as session:
        found = releases.find(session, slow.release.id)
        assert found is not None
        assert (found.status, found.token) == (Status.BUILDING, slow.token)


@pytest.mark.parametrize("starts", [True, False])
def test_a_gate_runs_again_when_what_it_compared_cannot_start(sessions: Sessions, starts: bool) -> None:
    slow, old, wanted = (a_claim(sessions, commit) for commit in "123")
    decide(sessions, old.release.id)
    say(sessions, live=True)
    decide(sessions, wanted.release.id)
    with sessions.begin() as session:
        seen = deployments.take_snapshot(session, "m")
        standing = deployments.find_baseline(session, "m")
        assert standing is not None
        assert standing.release_id == wanted.release.id
    say(sessions, live=starts)

    with nullcontext() if starts else pytest.raises(ConflictError), sessions.begin() as session:
        claims.settle(session, slow, Deployed(seen))


def test_a_builder_that_lost_its_claim_decides_nothing(sessions: Sessions) -> None:
    claim = a_claim(sessions, "1")
    with sessions.begin() as session:
        claims.requeue_orphaned(session, claim.release)

    with pytest.raises(claims.ClaimLostError), sessions.begin() as session:
        claims.settle(session, claim, Deployed(DeploymentSnapshot(None, None)))
    with sessions.begin() as session:
        assert deployments.take_snapshot(session, "m") == DeploymentSnapshot(None, None)


def built(sessions: Sessions, commit: str, trigger: Trigger = Trigger.MERGE, *, live: bool = True) -> int:
    """A release that passed the gate and, unless said otherwise, went live."""
    claim = a_claim(sessions, commit, trigger)
    with sessions.begin() as session:
        claims.record_facts(session, claim, artifact="digest")
        claims.settle(session, claim, Deployed(deployments.take_snapshot(session, "m")))
    if live:
        say(sessions, live=True)
    return claim.release.id


def roll_back(sessions: Sessions) -> int:
    with sessions.begin() as session:
        made = deployments.roll_back(session, "m", cause=Cause.ROLLBACK, who="dana", why="worse")
        target = made.release_id
    say(sessions, live=True)
    return target


def test_a_rollback_goes_to_what_was_live_before(sessions: Sessions) -> None:
    first = built(sessions, "1")
    built(sessions, "2")

    assert roll_back(sessions) == first == live(sessions)


def test_rolling_back_twice_never_returns_to_what_was_left(sessions: Sessions) -> None:
    first, second = built(sessions, "1"), built(sessions, "2")
    built(sessions, "3")

    assert [roll_back(sessions), roll_back(sessions)] == [second, first]
    with pytest.raises(RefusedError, match="no other release"), sessions.begin() as session:
        deployments.roll_back(session, "m", cause=Cause.ROLLBACK, who="dana", why=None)
    assert live(sessions) == first


def test_a_refused_rollback_changes_nothing(sessions: Sessions) -> None:
    only = built(sessions, "1")
    with pytest.raises(RefusedError), sessions.begin() as session:
        deployments.roll_back(session, "m", cause=Cause.ROLLBACK, who="dana", why=None)
    newer = built(sessions, "2")

    assert roll_back(sessions) == only != newer


def test_a_build_during_a_rollback_waits_for_an_operator(sessions: Sessions) -> None:
    built(sessions, "1")
    built(sessions, "2")
    building = a_claim(sessions, "3")
    target = roll_back(sessions)
    with sessions.begin() as session:
        claims.settle(session, building, Deployed(deployments.take_snapshot(session, "m")))

    with sessions.begin() as session:
        found = releases.find(session, building.release.id)
        assert found is not None
        assert (found.status, live(sessions)) == (Status.PASSED, target)
        assert "rolled back" in (found.reason or "")
        deployments.deploy(session, found, who="dana", why="it is the mend")
    say(sessions, live=True)
    assert live(sessions) == building.release.id


def test_what_is_merged_after_a_rollback_goes_live_again(sessions: Sessions) -> None:
    built(sessions, "1")
    built(sessions, "2")
    roll_back(sessions)

    assert built(sessions, "3") == live(sessions)


def test_deploying_a_rolled_back_release_ends_its_quarantine(sessions: Sessions) -> None:
    built(sessions, "1")
    second = built(sessions, "2")
    roll_back(sessions)
    with sessions.begin() as session:
        deployments.deploy(session, session.get_one(Release, second), who="dana", why=None)
    say(sessions, live=True)
    third = built(sessions, "3")

    assert live(sessions) == third
    assert roll_back(sessions) == second


def test_only_a_release_that_passed_can_be_deployed(sessions: Sessions) -> None:
    claim = a_claim(sessions, "1")
    with pytest.raises(RefusedError, match="is building"), sessions.begin() as session:
        deployments.deploy(session, session.get_one(Release, claim.release.id), who="dana", why=None)


def test_pruning_keeps_the_live_one_and_the_one_before(sessions: Sessions) -> None:
    made = [built(sessions, str(number)) for number in range(5)]
    roll_back(sessions)
    with sessions.begin() as session:
        pruned = {release.id for release in releases.prune_artifacts(session, "m", retain=1)}

    assert pruned == {made[0], made[1]}
    with pytest.raises(RefusedError, match="pruned"), sessions.begin() as session:
        deployments.deploy(session, session.get_one(Release, made[0]), who="dana", why=None)
    assert roll_back(sessions) == made[2]


def test_a_cancelled_release_is_lost_to_its_builder(sessions: Sessions) -> None:
    claim = a_claim(sessions, "1")
    with sessions.begin() as session:
        assert release_queue.cancel(session, claim.release.id, who="dana")
        assert not release_queue.cancel(session, claim.release.id, who="dana")

    with pytest.raises(claims.ClaimLostError), sessions.begin() as session:
        claims.settle(session, claim, Deployed(deployments.take_snapshot(session, "m")))


def withdraw(sessions: Sessions, deployment: Deployment) -> int | None:
    with sessions.begin() as session:
        made = deployments.auto_roll_back(session, deployment, "it dies")
        return made.release_id if made else None


def current(sessions: Sessions) -> Deployment:
    with sessions.begin() as session:
        found = deployments.find_live(session, "m")
        assert found is not None
        return found


def test_what_is_withdrawn_by_itself_overrules_nobody(sessions: Sessions) -> None:
    first = built(sessions, "1")
    before = current(sessions)
    second = built(sessions, "2")
    left = current(sessions)

    assert withdraw(sessions, before) is None  # something newer is live
    decide(sessions, second)
    assert withdraw(sessions, left) is None  # somebody wants something else
    say(sessions, live=False)
    assert withdraw(sessions, left) == first
    assert withdraw(sessions, left) is None  # it is on its way


def test_only_the_first_time_that_a_release_is_live_is_its_first(sessions: Sessions) -> None:
    first = built(sessions, "1")
    once = current(sessions)
    built(sessions, "2")
    assert roll_back(sessions) == first

    with sessions.begin() as session:
        assert deployments.is_first(session, once)
        live_again = deployments.find_live(session, "m")
        assert live_again is not None
        assert not deployments.is_first(session, live_again)


def test_a_wish_that_was_overruled_does_not_come_back(sessions: Sessions) -> None:
    one, two, three = (a_claim(sessions, commit) for commit in "123")
    decide(sessions, one.release.id)
    say(sessions, live=True)
    overruled = decide(sessions, two.release.id)
    decide(sessions, three.release.id)
    say(sessions, live=False)

    assert live(sessions) == one.release.id
    with sessions.begin() as session:
        assert deployments.find_wanted(session, "m") is None
        found = session.get_one(Deployment, overruled)
        assert deployments.mark_live(session, found) is None  # whoever was starting it comes too late
    assert live(sessions) == one.release.id


def cannot_start(sessions: Sessions, release: int) -> None:
    with sessions.begin() as session:
        deployment = deployments.find_wanted(session, "m")
        assert deployment is not None
        assert deployment.release_id == release
        deployments.mark_failed(session, deployment, "it cannot start")


def begin_rollback(sessions: Sessions) -> None:
    with sessions.begin() as session:
        deployments.roll_back(session, "m", cause=Cause.ROLLBACK, who="dana", why="worse")


@pytest.mark.parametrize("starts", [True, False])
def test_a_rollback_overrules_a_newer_release_that_starts(sessions: Sessions, starts: bool) -> None:
    first, second = built(sessions, "1"), built(sessions, "2")
    newer = built(sessions, "3", live=False)
    begin_rollback(sessions)
    say(sessions, live=starts)

    assert live(sessions) == (first if starts else second)
    with sessions.begin() as session:
        assert deployments.find_wanted(session, "m") is None
        overruled = deployment_history.find_newest_by_release(session, [newer])[newer]
        assert overruled.state is DeploymentState.OVERRULED
        assert deployments.mark_live(session, overruled) is None


def test_a_rollback_goes_on_to_an_older_release_that_can_start(sessions: Sessions) -> None:
    oldest, older, _ = (built(sessions, commit) for commit in "123")
    begin_rollback(sessions)
    cannot_start(sessions, older)
    say(sessions, live=True)

    assert live(sessions) == oldest
    with sessions.begin() as session:
        tried = deployment_history.find_newest_by_release(session, [older])[older]
        assert tried.reason == f"it cannot start; the rollback goes on to release {oldest}"


def test_a_rollback_tries_each_release_once(sessions: Sessions) -> None:
    one, two = built(sessions, "1"), built(sessions, "2")
    with sessions.begin() as session:
        deployments.deploy(session, session.get_one(Release, one), who="dana", why=None)
    say(sessions, live=True)
    left = built(sessions, "3")
    begin_rollback(sessions)
    cannot_start(sessions, one)
    cannot_start(sessions, two)

    assert live(sessions) == left
    with sessions.begin() as session:
        assert deployments.find_wanted(session, "m") is None


def test_a_rollback_that_fails_shuts_out_nothing(sessions: Sessions) -> None:
    first, second = built(sessions, "1"), built(sessions, "2")
    building = a_claim(sessions, "3")
    begin_rollback(sessions)
    cannot_start(sessions, first)
    with sessions.begin() as session:
        claims.settle(session, building, Deployed(deployments.take_snapshot(session, "m")))
    say(sessions, live=True)

    assert live(sessions) == building.release.id
    assert roll_back(sessions) == second


def test_what_passes_during_a_rollback_waits_for_its_end(sessions: Sessions) -> None:
    first = built(sessions, "1")
    built(sessions, "2")
    building = a_claim(sessions, "3")
    begin_rollback(sessions)
    with sessions.begin() as session:
        claims.settle(session, building, Deployed(deployments.take_snapshot(session, "m")))
        assert session.get_one(Release, building.release.id).status is Status.QUEUED
    say(sessions, live=True)

    assert live(sessions) == first
    with sessions.begin() as session:
        assert "was rolled back" in str(session.get_one(Release, building.release.id).hold)


def test_what_is_merged_while_a_rollback_is_under_way_goes_live(sessions: Sessions) -> None:
    built(sessions, "1")
    built(sessions, "2")
    begin_rollback(sessions)

    assert built(sessions, "3") == live(sessions)


def test_words_of_a_newer_process_are_read_as_unknown(sessions: Sessions) -> None:
    first = built(sessions, "1")
    with sessions.begin() as session:
        session.execute(text("UPDATE releases SET status = 'rehearsed', trigger = 'wish'"))
        session.execute(text("UPDATE deployments SET cause = 'rollout', state = 'canary'"))

    with sessions.begin() as session:
        release = session.get_one(Release, first)
        assert (release.status, release.trigger) == (Status.UNKNOWN, Trigger.UNKNOWN)
        deployment = deployment_history.list_deployments(session, "m")[0]
        assert (deployment.cause, deployment.state) == (Cause.UNKNOWN, DeploymentState.UNKNOWN)
        assert deployments.find_wanted(session, "m") is None
        assert deployments.mark_live(session, deployment) is None


def test_what_was_live_lately_is_told_once_by_its_last_time(sessions: Sessions) -> None:
    made = [a_claim(sessions, str(number)).release.id for number in range(13)]
    with sessions.begin() as session:
        facts = {"metrics": {"SMAPE": 0.2}, "data": {"test": {"sha256": "abc"}}}
        session.execute(update(Release).values(facts))
        session.execute(update(Release).where(Release.id == made[11]).values(data=None))
    for release in (*made, made[2]):
        decide(sessions, release)
        say(sessions, live=release != made[12])

    with sessions.begin() as session:
        lately = releases.list_recently_live(session, "m", "abc")

    assert [release for release, _ in lately] == [made[2], *reversed(made[3:11])]


def test_of_tags_without_end_the_newest_is_queued(sessions: Sessions) -> None:
    tags = [(f"v{number}", str(number)) for number in range(1000, 0, -1)]
    with sessions.begin() as session:
        release_queue.queue_tags(session, "m", "a/m", tags[999:])
    with sessions.begin() as session:
        queued = release_queue.queue_tags(session, "m", "a/m", tags)
        assert queued is not None
        assert queued.ref == "v1000"
        assert release_queue.queue_tags(session, "m", "a/m", tags) is None


def test_a_bad_retraining_goes_back_to_its_own_commit(sessions: Sessions) -> None:
    built(sessions, "1")
    merged = built(sessions, "2")
    again, bad = (built(sessions, "2", Trigger.SCHEDULE) for _ in range(2))

    assert roll_back(sessions) == again
    assert quarantined(sessions, merged, again, bad) == {bad: False}
    assert roll_back(sessions) == merged
    assert quarantined(sessions, merged, again, bad) == {again: False, bad: False}


def quarantined(sessions: Sessions, *numbers: int) -> dict[int, bool]:
    """Return which of these releases are in quarantine, and whether with their whole commit."""
    with sessions.begin() as session:
        releases_ = [session.get_one(Release, number) for number in numbers]
        found = {release.id: rollbacks.find_quarantine(session, release) for release in releases_}
    return {number: one.covers_commit for number, one in found.items() if one is not None}


def test_a_commit_is_quarantined_when_nothing_of_it_was_good(sessions: Sessions) -> None:
    first = built(sessions, "1")
    merged, retrained = built(sessions, "2"), built(sessions, "2", Trigger.DATA)

    assert [roll_back(sessions), roll_back(sessions)] == [merged, first]
    assert quarantined(sessions, first, merged, retrained) == {merged: True, retrained: True}


def test_of_a_commit_that_was_good_only_the_release_is_left(sessions: Sessions) -> None:
    """Its earlier release cannot start, so that the rollback goes on to another commit."""
    first, merged = built(sessions, "1"), built(sessions, "2")
    bad = built(sessions, "2", Trigger.SCHEDULE)
    begin_rollback(sessions)
    cannot_start(sessions, merged)
    say(sessions, live=True)

    assert live(sessions) == first
    assert quarantined(sessions, first, merged, bad) == {bad: False}


def test_a_rolled_back_commit_that_is_mended_is_good_again(sessions: Sessions) -> None:
    """A person has it trained again: then a rollback may go to that, and not to what was bad."""
    first, bad = built(sessions, "1"), built(sessions, "2")
    roll_back(sessions)
    mended = built(sessions, "2", Trigger.MANUAL)

    assert quarantined(sessions, bad, mended) == {bad: False}
    built(sessions, "3")
    assert [roll_back(sessions), roll_back(sessions)] == [mended, first]


def test_deploying_one_release_by_hand_leaves_the_bad_one_out(sessions: Sessions) -> None:
    first, bad = built(sessions, "1"), built(sessions, "2")
    roll_back(sessions)
    other = built(sessions, "2", Trigger.MANUAL, live=False)
    with sessions.begin() as session:
        deployments.deploy(session, session.get_one(Release, other), who="dana", why=None)
    say(sessions, live=True)

    assert quarantined(sessions, bad, other) == {bad: False}
    assert roll_back(sessions) == first
