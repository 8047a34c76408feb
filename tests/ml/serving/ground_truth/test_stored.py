"""Ground truth is stored beside the rows that it is for, once, and with what it replaced."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from common.auth.operator_token import read_stored
from db.ground_truth_models import GroundTruth
from ml.paths import HomeLayout
from ml.serving.request_log.ids import IdMaker
from ml.serving.request_log.key import derive_key, load_key
from tests.harness.waiting import wait_until
from tests.ml.serving.request_log.test_recorded import ID, rows_of
from tests.ml.serving.support import Shop, main_py

V1 = "/v1/models/web-traffic:predict"


def send(shop: Shop, items: Any, query: str = "", **headers: str) -> httpx.Response:
    """Send ground truth: JSON, or CSV where it is a text."""
    content = items if isinstance(items, str) else json.dumps(items)
    return shop.client.post(
        f"{shop.url}/models/{shop.model}/ground-truth{query}",
        content=content,
        headers={
            "Authorization": f"Bearer {read_stored(shop.settings.home)}",
            "Content-Type": "text/csv" if isinstance(items, str) else "application/json",
            **headers,
        },
    )


def counts(response: httpx.Response) -> dict[str, int]:
    """The counts of an answer that are not 0."""
    assert response.status_code == 200, response.text
    document = response.json()
    assert document.pop("problems_left_out") == 0
    return {name: value for name, value in document.items() if value and name != "problems"}


def values(shop: Shop) -> Sequence[GroundTruth]:
    """What is stored, by time and row."""
    with shop.sessions.begin() as session:
        return session.scalars(select(GroundTruth).order_by(GroundTruth.at, GroundTruth.row)).all()


def recorded(shop: Shop, features: Any = 1, **headers: str) -> str:
    """Predict, wait for the row, and return the call's id."""
    response = shop.client.post(shop.url + "/predict", json=features, headers=headers)
    rows_of(shop, response, 1)
    return response.headers[ID]


def ids_of(shop: Shop) -> IdMaker:
    """What makes genuine ids, also of other times."""
    key = load_key(HomeLayout(shop.settings.home).record_key)
    return IdMaker(derive_key(key, "ids"), shop.model)


def make_early(shop: Shop) -> str:
    """The id of a call whose row is not there yet."""
    return str(ids_of(shop).make(int(1000 * datetime.now(UTC).timestamp())).uuid)


def forge(call: str) -> str:
    return call[:-1] + ("0" if call[-1] != "0" else "1")


def test_it_needs_the_operators_token(shop: Shop) -> None:
    address = f"{shop.url}/models/{shop.model}/ground-truth"
    assert shop.client.post(address, json=[]).status_code == 401
    assert shop.client.get(address + "/x").status_code == 401
    assert counts(send(shop, [])) == {}


def test_a_value_is_stored_beside_its_row(shop: Shop) -> None:
    shop.publish(main_py("return 1"), kind="regression")
    call = recorded(shop)
    item = {"prediction": call, "value": 1.5, "at": "2026-11-01T12:00:00+02:00", "source": "person"}

    assert counts(send(shop, [item])) == {"stored": 1}

    [one] = values(shop)
    assert (str(one.id), one.row, one.model, one.value) == (call, 0, shop.model, 1.5)
    assert (one.source, one.is_early, one.earlier) == ("person", False, [])
    assert one.observed_at == datetime(2026, 11, 1, 10, tzinfo=UTC)
    [row] = rows_of(shop, httpx.Response(200, headers={ID: call}), 1)
    assert one.at == row.at


def test_a_later_value_replaces_the_earlier_one(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    call = recorded(shop)
    assert counts(send(shop, [{"prediction": call, "value": 0}])) == {"stored": 1}
    assert counts(send(shop, [{"prediction": call, "value": 0.0}])) == {"stored": 1, "unchanged": 1}
    for value in range(1, 13):
        answer = send(shop, [{"prediction": call, "value": value, "source": "person"}])
        assert counts(answer) == {"stored": 1, "replaced": 1}

    [one] = values(shop)
    assert [one.value, *(old["value"] for old in one.earlier)] == list(range(12, 1, -1))
    address = f"{shop.url}/models/{shop.model}/ground-truth/{call}"
    headers = {"Authorization": f"Bearer {read_stored(shop.settings.home)}"}
    [row] = shop.client.get(address, headers=headers).json()["rows"]
    assert (row["row"], row["value"], row["source"], len(row["earlier"])) == (0, 12, "person", 10)
    assert shop.client.get(address[:-1] + "z", headers=headers).status_code == 404


def test_of_two_values_of_a_row_in_one_call_the_last_counts(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    call = recorded(shop)
    items = [{"prediction": call, "value": value} for value in (1, 2, 3)]
    assert counts(send(shop, items)) == {"stored": 1, "duplicate": 2}
    assert [one.value for one in values(shop)] == [3]


def test_forged_and_foreign_ids_are_unknown(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    call = recorded(shop)
    items = [{"prediction": one, "value": 1} for one in (forge(call), "x", "\x00", "é", call)]
    answer = send(shop, items)
    assert counts(answer) == {"stored": 1, "unknown": 4}
    problems = answer.json()["problems"]
    assert [(one["item"], one["status"]) for one in problems] == [(n, "unknown") for n in range(4)]
    assert len(values(shop)) == 1


def test_the_clients_id_finds_its_only_call(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    for name in ("order-1", "twice", "twice"):
        recorded(shop, **{"X-Request-ID": name})
    assert counts(send(shop, [{"prediction": "order-1", "value": 1}])) == {"stored": 1}

    both = [{"prediction": "order-1", "value": 2}, {"prediction": "twice", "value": 2}]
    answer = send(shop, both)

    assert answer.status_code == 409
    assert [error["at"] for error in answer.json()["errors"]] == ["1.prediction"]
    assert [one.value for one in values(shop)] == [1]
    assert counts(send(shop, both, "?invalid=skip")) == {"stored": 1, "replaced": 1, "ambiguous": 1}


def test_a_row_has_to_be_named_where_there_are_several(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    response = shop.client.post(shop.url + V1, json={"instances": [1, 2, 3]})
    rows_of(shop, response, 3)
    call = response.headers[ID]

    answer = send(shop, [{"prediction": call, "value": 1}])
    assert (answer.status_code, answer.json()["errors"][0]["at"]) == (422, "0.row")
    items = [{"prediction": call, "row": row, "value": row} for row in (2, 0)]
    assert counts(send(shop, items)) == {"stored": 2}
    assert [(one.row, one.value) for one in values(shop)] == [(0, 0), (2, 2)]


def test_a_value_that_comes_before_its_row_waits_for_it(shop: Shop) -> None:
    shop.publish(main_py("return 1"), kind="regression")
    call = make_early(shop)
    assert counts(send(shop, [{"prediction": call, "value": 7}])) == {"early": 1}
    [one] = values(shop)
    assert (str(one.id), one.is_early) == (call, True)
    assert counts(send(shop, [{"prediction": call, "value": 7}])) == {"early": 1, "unchanged": 1}
    assert send(shop, [{"prediction": call, "value": "7"}]).status_code == 422


def test_a_call_that_is_not_sampled_is_answered_as_such(shop: Shop) -> None:
    shop.publish(main_py("return 1"), record={"sample": 0.0})
    call = shop.predict(1).headers[ID]
    assert counts(send(shop, [{"prediction": call, "value": 1}])) == {"not_sampled": 1}
    assert values(shop) == []


def test_of_a_day_that_was_dropped_nothing_is_stored(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    ids = ids_of(shop)
    for days, reason in ((1.5, "it was erased"), (200, "its day was dropped")):
        at = datetime.now(UTC) - timedelta(days=days)
        call = ids.make(int(1000 * at.timestamp()))
        answer = send(shop, [{"prediction": str(call.uuid), "value": 1}])
        assert counts(answer) == {"not_sampled": 1}
        assert reason in answer.json()["problems"][0]["reason"]
    assert values(shop) == []


def test_hidden_fields_are_hidden_in_values_too(shop: Shop) -> None:
    shop.publish(main_py("return 1"), record={"fields": {"who": "drop", "mail": "hash"}})
    call = recorded(shop, {"x": 1})
    value = {"who": "tell-nobody", "mail": "tell-nobody", "y": [2]}
    assert counts(send(shop, [{"prediction": call, "value": value}])) == {"stored": 1}
    [one] = values(shop)
    assert (one.value["y"], one.value["mail"][:5], "who" in one.value) == ([2], "hmac:", False)
    assert "tell-nobody" not in json.dumps(one.value)


def test_values_come_with_the_log_off(make_shop: Callable[..., Shop]) -> None:
    with make_shop().serving() as shop:
        shop.publish(main_py("return 1"))
        call = recorded(shop)
    with make_shop(SLIPWAY_RECORD="0").serving() as shop:
        wait_until(lambda: shop.served() is not None, 30, "it is live again")
        assert counts(send(shop, [{"prediction": call, "value": 1}])) == {"stored": 1}


@pytest.mark.parametrize(("count", "status"), [(10_000, 200), (10_001, 413)])
def test_a_call_has_a_bound_of_values(shop: Shop, count: int, status: int) -> None:
    shop.publish(main_py("return 1"))
    items = [{"prediction": f"id-{number}", "value": 1} for number in range(count)]
    answer = send(shop, items, "?problems=2")
    assert answer.status_code == status
    if status == 200:
        document = answer.json()
        assert (document["unknown"], document["problems_left_out"]) == (count, count - 2)
