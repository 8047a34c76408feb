"""Releases that an operator asks for and ends; builders are real processes."""

from collections.abc import Iterator

import pytest

from db.models import Release
from db.states import Status, Trigger
from tests.ml.conftest import Appliance
from tests.ml.serving.support import Shop, main_py
from tests.ml.web.api.conftest import Operator, operators
from tests.models import working

TRAIN = "/models/web-traffic/train"


@pytest.fixture
def both(appliance: Appliance) -> Iterator[tuple[Appliance, Shop, Operator]]:
    """The building half and the serving half of one appliance."""
    made = Shop(appliance.serving, appliance.sessions, appliance.repository)
    with made.serving() as shop, operators(shop) as operator:
        yield appliance, shop, operator


def newest(appliance: Appliance) -> Release:
    return appliance.releases()[0]


def test_a_training_takes_the_newest_commit_through_every_stage(
    both: tuple[Appliance, Shop, Operator],
) -> None:
    appliance, shop, operator = both
    appliance.merge(working.quick(value=1))
    commit = appliance.merge(working.quick(value=2))
    appliance.settle()
    shop.until_live(newest(appliance).id)

    answer = operator(TRAIN, who="dana", why="new data")

    document = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/releases/{document['id']}"
    assert (document["commit"], document["trigger"], document["status"]) == (commit, "manual", "queued")
    assert (document["requested_by"], document["title"]) == ("dana", "new data")
    appliance.settle()
    shop.until_live(document["id"])
    stages = [stage["name"] for stage in shop.get(f"/releases/{document['id']}").json()["stages"]]
    assert stages == ["checkout", "environment", "data", "train", "evaluate", "gate", "deploy"]


def test_a_training_of_what_was_rejected_says_so(both: tuple[Appliance, Shop, Operator]) -> None:
    appliance, shop, operator = both
    good = appliance.merge(working.quick(smape=0.2))
    appliance.settle()
    shop.until_live(newest(appliance).id)
    assert operator(TRAIN).json()["note"] is None
    appliance.settle()
    worse = appliance.merge(working.quick(smape=0.9))
    appliance.settle()
    rejected = newest(appliance)

    document = operator(TRAIN).json()

    assert rejected.status is Status.REJECTED
    assert document["commit"] == worse
    assert document["note"] == (
        f"release {rejected.id} of this commit was rejected: {rejected.reason}\n"
        f"to retrain the live release instead: slipway train --commit {good[:8]}"
    )
    assert operator(TRAIN, commit=worse).json()["note"] is None


def test_a_training_of_what_was_rolled_back_says_so(both: tuple[Appliance, Shop, Operator]) -> None:
    appliance, shop, operator = both
    good = appliance.merge(working.quick(value=1))
    appliance.settle()
    first = newest(appliance).id
    shop.until_live(first)
    left = appliance.merge(working.quick(value=2))
    appliance.settle()
    shop.until_live(newest(appliance).id)
    assert operator("/models/web-traffic/rollback").status_code == 202
    shop.until_live(first)

    document = operator(TRAIN).json()

    assert document["commit"] == left
    assert document["note"] == (
        f"commit {left[:8]} was rolled back, and goes live again when it passes the gate\n"
        f"to retrain the live release instead: slipway train --commit {good[:8]}"
    )


def test_a_cancelled_release_ends_at_once_and_the_next_is_built(
    both: tuple[Appliance, Shop, Operator],
) -> None:
    appliance, shop, operator = both
    appliance.merge(working.quick(seconds=600))
    release = appliance.wait_for_stage("train").id

    answer = operator(f"/releases/{release}/cancel", who="dana", why="never ends")

    assert answer.status_code == 202
    assert answer.json()["status"] == "cancelled"
    assert answer.json()["reason"] == "cancelled by dana: never ends"
    again = operator(f"/releases/{release}/cancel")
    assert again.status_code == 409
    assert again.json()["detail"] == f"release {release} has ended already, it is cancelled."
    appliance.merge(working.quick())
    appliance.settle()
    shop.until_live(newest(appliance).id)
    assert shop.release(release).status is Status.CANCELLED


def test_a_commit_may_be_shortened_but_not_guessed(shop: Shop, operator: Operator) -> None:
    release = shop.publish(main_py("return 1"))
    commit = shop.release(release).commit

    def asked(given: str) -> tuple[int, str]:
        answer = operator(TRAIN, commit=given)
        return answer.status_code, answer.json().get("commit", "")

    assert asked(commit) == (202, commit)
    assert asked(commit[:8]) == (202, commit)
    assert asked("0" * 40) == (202, "0" * 40)  # the checkout says whether there is one
    assert asked("1" * 8) == (404, "")
    for given in ("main", "--upload-pack=id", commit.upper(), "abc", f"{commit}\n"):
        assert asked(given) == (422, "")


def test_without_a_merge_the_live_commit_is_trained(shop: Shop, operator: Operator) -> None:
    assert operator(TRAIN).json()["detail"] == (
        "no change of web-traffic has been accepted yet: merge or push one, or give a commit."
    )
    live = shop.release(shop.publish(main_py("return 1")))

    assert operator(TRAIN).json()["commit"] == live.commit


def test_a_warm_start_is_from_a_release_that_has_a_model(shop: Shop, operator: Operator) -> None:
    some = "0" * 40
    assert operator(TRAIN, commit=some, warm_start=True).status_code == 409
    live = shop.publish(main_py("return 1"))
    untrained = shop.publish(main_py("return 2"), status=Status.REJECTED, artifact=None)

    assert operator(TRAIN, warm_start=True).json()["warm_start"] == live
    assert operator(TRAIN, warm_start=live).json()["warm_start"] == live
    assert operator(TRAIN, warm_start=False).json()["warm_start"] is None
    refused = operator(TRAIN, warm_start=untrained)
    assert refused.status_code == 409
    assert f"the model of release {untrained} was never trained" in refused.json()["detail"]
    assert operator(TRAIN, warm_start=4711).status_code == 404
    with shop.sessions.begin() as session:
        other = Release(model="another", repository="acme/another", commit=some, trigger=Trigger.MANUAL)
        session.add(other)
    assert operator(TRAIN, warm_start=other.id).status_code == 404


def test_a_score_of_what_is_live_is_asked_for_and_found_again(shop: Shop, operator: Operator) -> None:
    evaluate = "/models/web-traffic/evaluate"
    assert operator(evaluate).status_code == 409
    live = shop.publish(main_py("return 1"))

    answer = operator(evaluate, who="dana")

    assert answer.status_code == 202
    assert (answer.json()["release"], answer.json()["requested_by"]) == (live, "dana")
    found = shop.get(answer.headers["Location"])
    assert found.json() == answer.json()
    assert shop.get("/models/web-traffic/scores").json()["scores"] == [found.json()]
    assert shop.get("/models/web-traffic/scores/4711").status_code == 404
