"""Operators pause and resume retraining, and start what is suggested; everybody sees what is due."""

import pytest
from sqlalchemy import select

from db import retrainings
from db.models import Release
from db.retraining_models import Retraining
from db.retrainings import Occasion
from db.states import RetrainingState, Status, Trigger
from ml.retrain_section import RetrainSection
from tests.ml.retraining.support import look
from tests.ml.serving.support import Shop, main_py
from tests.ml.web.api.conftest import Operator

PAGE = "/models/web-traffic/retraining"
WEEKLY = {"schedule": "0 3 * * 1", "cooldown": "12h"}


def suggest(shop: Shop, key: str = "window 7") -> int:
    with shop.sessions.begin() as session:
        occasion = Occasion(Trigger.DRIFT, key, "the ages of users have moved by 12 years")
        made = retrainings.suggest(session, "web-traffic", occasion)
        assert made is not None
        assert retrainings.suggest(session, "web-traffic", occasion) is None  # once
        return made.id


def state(shop: Shop, number: int) -> Retraining:
    with shop.sessions.begin() as session:
        return session.get_one(Retraining, number)


def test_a_pause_is_on_record_until_somebody_resumes(shop: Shop, operator: Operator) -> None:
    shop.publish(main_py(), retrain=WEEKLY)
    section = RetrainSection.model_validate(WEEKLY)
    look(shop.sessions, section, model="web-traffic")
    assert shop.get(PAGE).json()["next"] is not None

    answer = operator("/models/web-traffic/pause", who="dana", why="the data is being repaired")

    assert (answer.status_code, answer.headers["Location"]) == (202, PAGE)
    operator("/models/web-traffic/pause", who="somebody else")
    document = shop.get(PAGE).json()
    assert (document["paused"]["who"], document["paused"]["why"]) == ("dana", "the data is being repaired")
    assert document["next"] is None
    assert "Retraining is paused by dana since" in shop.get("/", "text/html").text
    assert look(shop.sessions, section, model="web-traffic") is None
    assert operator("/models/web-traffic/train").status_code == 202

    assert operator("/models/web-traffic/resume").json()["paused"] is None
    look(shop.sessions, section, model="web-traffic")
    assert shop.get(PAGE).json()["next"] is not None


def test_what_is_due_is_shown_with_its_settings(shop: Shop) -> None:
    release = shop.publish(main_py(), retrain=WEEKLY)
    document = shop.get(PAGE).json()

    assert document["release"] == release
    assert document["settings"] == {
        "schedule": "0 3 * * 1",
        "timezone": "UTC",
        "on_data": False,
        "drift": "off",
        "decay": "off",
        "cooldown": "12h",
        "budget": 3,
        "warm_start": False,
    }
    assert (document["budget_left"], document["retrainings"], document["paused"]) == (3, [], None)
    assert shop.get("/models/nobody/retraining").status_code == 404


def test_what_is_suggested_is_started_by_an_operator(shop: Shop, operator: Operator) -> None:
    shop.publish(main_py())
    number = suggest(shop)
    assert "the ages of users have moved by 12 years" in shop.get("/", "text/html").text
    assert shop.client.post(f"{shop.url}{PAGE}/{number}/start").status_code == 401

    answer = operator(f"{PAGE}/{number}/start", who="dana")

    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    assert state(shop, number).requested_by == "dana"
    again = operator(f"{PAGE}/{number}/start")
    assert again.status_code == 409
    assert f"retraining {number} is not suggested any more: it is waiting" in again.json()["detail"]
    with shop.sessions.begin() as session:
        made = retrainings.start(session, number, "acme/web-traffic", warm_start=False)
        assert made is not None
        assert (made.trigger, made.requested_by) == (Trigger.DRIFT, "dana")
    [shown] = shop.get(PAGE).json()["retrainings"]
    assert (shown["release"], shown["status"]) == (made.id, "queued")
    assert shop.get(PAGE).json()["budget_left"] == 2


def test_a_suggestion_of_an_earlier_release_says_stale(shop: Shop) -> None:
    first = shop.publish(main_py("return 1"))
    shop.publish(main_py("return 2"))
    number = suggest(shop)
    assert ">suggested</span>" in shop.get(PAGE, "text/html").text
    with shop.sessions.begin() as session:
        session.get_one(Retraining, number).live_release = first

    assert ">stale</span>" in shop.get(PAGE, "text/html").text


def test_a_suggestion_for_another_release_is_stale(shop: Shop, operator: Operator) -> None:
    first = shop.publish(main_py("return 1"))
    number = suggest(shop)
    second = shop.publish(main_py("return 2"))

    answer = operator(f"{PAGE}/{number}/start")

    assert answer.status_code == 409
    assert state(shop, number).state is RetrainingState.SUPERSEDED  # by another commit
    assert shop.get(PAGE).json()["suggested"] == []
    assert operator(f"{PAGE}/4711/start").status_code == 404
    assert first != second


def test_a_suggestion_waits_while_a_merge_is_built(shop: Shop, operator: Operator) -> None:
    shop.publish(main_py())
    number = suggest(shop)
    with shop.sessions.begin() as session:
        session.add(
            Release(
                model="web-traffic", repository="acme/web-traffic", commit="f" * 40, status=Status.BUILDING
            )
        )

    answer = operator(f"{PAGE}/{number}/start")

    assert answer.status_code == 409
    assert "(merge) is on its way" in answer.json()["detail"]


def test_a_suggestion_is_compared_with_a_live_release(shop: Shop) -> None:
    with shop.sessions.begin() as session:
        occasion = Occasion(Trigger.DECAY, "1", "it is worse")
        assert retrainings.suggest(session, "web-traffic", occasion) is None
        assert session.scalars(select(Retraining)).all() == []


def test_the_next_retraining_is_a_metric(shop: Shop, operator: Operator) -> None:
    shop.publish(main_py(), retrain=WEEKLY)
    assert "slipway_next_retraining_timestamp_seconds{" not in shop.get("/metrics").text
    look(shop.sessions, RetrainSection.model_validate(WEEKLY), model="web-traffic")

    text = shop.get("/metrics").text
    assert 'slipway_next_retraining_timestamp_seconds{model="web-traffic"} 1' in text
    assert 'slipway_retraining_paused{model="web-traffic"} 0.0' in text
    operator("/models/web-traffic/pause")
    assert 'slipway_retraining_paused{model="web-traffic"} 1.0' in shop.get("/metrics").text


@pytest.mark.parametrize("call", ["pause", "resume", "retraining/1/start"])
def test_only_operators_change_it(shop: Shop, call: str) -> None:
    assert shop.client.post(f"{shop.url}/models/web-traffic/{call}").status_code == 401
