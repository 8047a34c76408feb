"""Deploy and roll back over HTTP: decided at once, live when it can be, and told who did it and why."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from db.states import Status
from tests.ml.serving.support import Load, Shop, main_py
from tests.ml.web.api.conftest import Operator

ROLL_BACK = "/models/web-traffic/rollback"


def test_a_rollback_goes_one_release_back_and_says_who_and_why(shop: Shop, operator: Operator) -> None:
    first, second = shop.publish(main_py("return 1")), shop.publish(main_py("return 2"))

    answer = operator(ROLL_BACK, who="dana", why="  it forecasts\nnegative visits ")

    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/releases/{first}"
    document = answer.json()
    assert (document["release"], document["cause"], document["state"]) == (first, "rollback", "wanted")
    shop.until_live(first)
    assert shop.predict(1).json()["prediction"] == 1
    newest, *_ = shop.get("/models/web-traffic/deployments").json()["deployments"]
    assert newest["id"] == document["id"]
    assert (newest["who"], newest["why"]) == ("dana", "it forecasts negative visits")
    assert newest["state"] == "live"
    left = shop.get(f"/releases/{second}").json()
    assert left["quarantine"]["why"] == "it forecasts negative visits"


def test_a_rollback_under_16_connections_fails_no_request(shop: Shop, operator: Operator) -> None:
    first, second = shop.publish(main_py("return 1")), shop.publish(main_py("return 2"))
    with Load(shop, clients=16) as load:
        load.wait_for(200)
        operator(ROLL_BACK)
        shop.until_live(first)
        load.wait_for(200)

    assert load.failed == []
    assert {answer["release"] for _, answer in load.answers} == {first, second}


def test_operators_who_see_the_same_fault_roll_back_once(shop: Shop, operator: Operator) -> None:
    releases = [shop.publish(main_py(f"return {n}")) for n in range(3)]

    def roll_back(who: int) -> int:
        answer = operator(ROLL_BACK, who=f"operator {who}", release=releases[-1])
        shop.until_live(releases[1])
        return answer.status_code

    with ThreadPoolExecutor(6) as operators:
        statuses = list(operators.map(roll_back, range(6)))

    assert set(statuses) <= {202, 409}
    assert shop.served() == releases[1]
    late = operator(ROLL_BACK, release=releases[-1])
    assert late.status_code == 409
    assert f"release {releases[1]} is: nothing was rolled back" in late.json()["detail"]


def test_several_decisions_at_once_end_with_one_live(shop: Shop, operator: Operator) -> None:
    releases = [shop.publish(main_py(f"return {n}")) for n in range(3)]
    barrier = threading.Barrier(6)

    def decide(number: int) -> tuple[int, int]:
        barrier.wait()
        answer = operator(f"/releases/{releases[number % 3]}/deploy", who=f"operator {number}")
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(6) as operators:
        answers = list(operators.map(decide, range(6)))

    assert {status for status, _ in answers} == {202}
    last = max(id_ for _, id_ in answers)
    decisions = {d["id"]: d for d in shop.get("/models/web-traffic/deployments").json()["deployments"]}
    shop.until_live(decisions[last]["release"])
    assert shop.served() == decisions[last]["release"]


def test_deploying_brings_back_what_was_rolled_back(shop: Shop, operator: Operator) -> None:
    shop.publish(main_py("return 1"))
    second = shop.publish(main_py("return 2"))
    operator(ROLL_BACK)

    answer = operator(f"/releases/{second}/deploy", why="the data was wrong, not the model")

    assert answer.status_code == 202
    shop.until_live(second)
    document = shop.get(f"/releases/{second}").json()
    assert document["live"] is True
    assert document["quarantine"] is None
    assert [d["cause"] for d in document["deployments"]] == ["operator", "operator"]
    assert document["deployment"]["why"] == "the data was wrong, not the model"


def test_a_passed_release_goes_live_by_hand(shop: Shop, operator: Operator) -> None:
    shop.publish(main_py("return 1"))
    held = shop.publish(main_py("return 2"), status=Status.PASSED, hold="somebody rolled back")
    assert shop.get(f"/releases/{held}").json()["hold"] == "somebody rolled back"

    operator(f"/releases/{held}/deploy")

    shop.until_live(held)
    assert shop.release(held).status is Status.DEPLOYED


def test_what_was_never_built_is_not_deployed(shop: Shop, operator: Operator) -> None:
    live = shop.publish(main_py("return 1"))
    for status in (Status.QUEUED, Status.REJECTED, Status.CANCELLED):
        other = shop.publish(main_py("return 2"), status=status)
        answer = operator(f"/releases/{other}/deploy")
        assert answer.status_code == 409
        assert answer.json()["detail"] == (
            f"release {other} is {status}: only one that passed the gate can be deployed."
        )
    assert shop.served() == live


def test_a_deployment_that_cannot_start_changes_nothing(shop: Shop, operator: Operator) -> None:
    first, second = shop.publish(main_py("return 1")), shop.publish(main_py("return 2"))
    artifact = shop.settings.home / f"artifacts/web-traffic/{first}"
    artifact.write_bytes(b"something else")

    operator(ROLL_BACK)

    assert "is not what was trained" in (shop.until(first, "failed").reason or "")
    assert shop.served() == second
    assert shop.predict(1).json()["prediction"] == 2


def test_there_is_nothing_to_go_back_to(shop: Shop, operator: Operator) -> None:
    assert operator(ROLL_BACK).json()["detail"] == (
        "nothing of web-traffic is live: there is nothing to roll back."
    )
    only = shop.publish(main_py("return 1"))
    answer = operator(ROLL_BACK)

    assert answer.status_code == 409
    assert "no other release of web-traffic was live before" in answer.json()["detail"]
    assert shop.served() == only
    assert shop.get(f"/releases/{only}").json()["quarantine"] is None


def test_what_is_not_there_is_said_to_be_missing(shop: Shop, operator: Operator) -> None:
    for number, call in product(("7", "-1", "99999999999999999999"), ("deploy", "cancel")):
        answer = operator(f"/releases/{number}/{call}")
        assert answer.status_code == 404
        assert answer.json()["title"] == "No such release"
    for call in ("rollback", "train", "evaluate", "deployments", "scores"):
        path = f"/models/another/{call}"
        answer = shop.get(path) if call in ("deployments", "scores") else operator(path)
        assert answer.status_code == 404
        assert answer.json()["detail"] == "There is no model 'another'; there is web-traffic."


def test_a_release_shows_its_metrics_beside_the_live_ones(shop: Shop) -> None:
    verdict = {"rules": [], "note": "no [gate]", "compared_with": None}
    live = shop.publish(main_py("return 1"), metrics={"SMAPE": 0.20, "bias": 0.0, "old": 1.0})
    worse = shop.publish(
        main_py("return 2"),
        status=Status.REJECTED,
        metrics={"SMAPE": 0.25, "bias": 0.1, "new": 3.0},
        verdict=verdict,
    )

    document = shop.get(f"/releases/{worse}").json()

    assert document["verdict"] == verdict
    assert document["comparison"]["release"] == live
    metrics = document["comparison"]["metrics"]
    assert metrics["SMAPE"] == {"value": 0.25, "live": 0.20, "change": pytest.approx(0.25)}
    assert metrics["bias"] == {"value": 0.1, "live": 0.0, "change": None}
    assert metrics["new"] == {"value": 3.0, "live": None, "change": None}
    assert document["deployment"] is None
    assert shop.get(f"/releases/{live}").json()["comparison"] is None


def test_the_addresses_are_in_the_openapi_document(shop: Shop) -> None:
    paths = shop.get("/openapi.json").json()["paths"]

    assert paths["/releases/{number}/deploy"]["post"]["tags"] == ["operators"]
    body = paths["/models/{name}/train"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"commit", "warm_start", "who", "why"}
    assert shop.get("/docs", accept="text/html").status_code == 200
