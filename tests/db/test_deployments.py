"""Decisions: the newest wins, a failed one never does, a gate's holds only while what it saw is still so."""

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db import deployments, releases
from db.deployments import Overtaken, Seen
from db.models import Cause, Release, Status, Trigger
from db.releases import Claim, Deployed

Sessions = sessionmaker[Session]


def a_claim(sessions: Sessions, commit: str) -> Claim:
    with sessions.begin() as session:
        release = Release(model="m", repository="a/m", commit=commit, trigger=Trigger.MERGE)
        session.add(release)
        session.flush()
        claim = releases.claim(session, release.id)
        assert claim is not None
        return claim


def decide(sessions: Sessions, release: int) -> int:
    with sessions.begin() as session:
        made = deployments.decide(
            session, "m", release, Cause.OPERATOR, who="dana", why=None, seen=deployments.look(session, "m")
        )
        return made.id


def say(sessions: Sessions, *, live: bool) -> None:
    with sessions.begin() as session:
        deployment = deployments.wanted(session, "m")
        assert deployment is not None
        if live:
            deployments.went_live(session, deployment)
        else:
            deployments.failed(session, deployment, "it could not start")


def live(sessions: Sessions) -> int | None:
    with sessions.begin() as session:
        deployment = deployments.live(session, "m")
        return deployment.release_id if deployment else None


def test_a_failed_deployment_never_wins(sessions: Sessions) -> None:
    good, bad = a_claim(sessions, "1"), a_claim(sessions, "2")
    decide(sessions, good.release.id)
    say(sessions, live=True)
    decide(sessions, bad.release.id)
    say(sessions, live=False)

    assert live(sessions) == good.release.id
    with sessions.begin() as session:
        assert deployments.wanted(session, "m") is None


def test_older_wishes_end_when_a_newer_one_is_live(sessions: Sessions) -> None:
    one, two = a_claim(sessions, "1"), a_claim(sessions, "2")
    decide(sessions, one.release.id)
    decide(sessions, two.release.id)
    say(sessions, live=True)

    assert live(sessions) == two.release.id
    with sessions.begin() as session:
        assert deployments.wanted(session, "m") is None


def test_a_gate_that_was_overtaken_is_asked_again(sessions: Sessions) -> None:
    slow, quick = a_claim(sessions, "1"), a_claim(sessions, "2")
    with sessions.begin() as session:
        seen = deployments.look(session, "m")
    decide(sessions, quick.release.id)

    with pytest.raises(Overtaken), sessions.begin() as session:
        releases.settle(session, slow, Deployed(seen))
    with sessions.begin() as session:
        found = releases.find(session, slow.release.id)
        assert found is not None
        assert (found.status, found.token) == (Status.BUILDING, slow.token)


def test_going_live_meanwhile_overtakes_a_gate_too(sessions: Sessions) -> None:
    slow, quick = a_claim(sessions, "1"), a_claim(sessions, "2")
    decide(sessions, quick.release.id)
    with sessions.begin() as session:
        seen = deployments.look(session, "m")
    say(sessions, live=True)

    with pytest.raises(Overtaken), sessions.begin() as session:
        releases.settle(session, slow, Deployed(seen))


def test_a_builder_that_lost_its_claim_decides_nothing(sessions: Sessions) -> None:
    claim = a_claim(sessions, "1")
    with sessions.begin() as session:
        releases.abandon(session, claim.release)

    with pytest.raises(releases.Lost), sessions.begin() as session:
        releases.settle(session, claim, Deployed(Seen(None, None)))
    with sessions.begin() as session:
        assert deployments.look(session, "m") == Seen(None, None)
