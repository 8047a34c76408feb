"""An operator erases recorded requests, and every copy of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.auth.operator_token import read_stored
from common.system import filelock
from db import request_partitions
from ml.paths import HomeLayout
from tests.harness.recorded import read_rows
from tests.harness.waiting import wait_until
from tests.ml.serving.ground_truth.test_stored import counts, make_early, recorded, send, values
from tests.ml.serving.request_log.test_recorded import ID, rows_of
from tests.ml.serving.support import Shop, differences, main_py

SECRET = "erase-me"
NOTHING = {"erased": 0, "ground_truth": 0, "comparisons": [], "building": [], "trained_on": []}


def erase(shop: Shop, of_model: str | None = None, **body: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {read_stored(shop.settings.home)}"}
    url = f"{shop.url}/models/{of_model or shop.model}/requests"
    return shop.client.request("DELETE", url, json=body, headers=headers)


def compared(worst: list[dict[str, Any]]) -> dict[str, Any]:
    """A stored comparison that shows these rows."""
    rows = [{"live": "1", "this": "2", "change": 1, **row} for row in worst]
    return differences(compared=9, changed=len(rows), mean=1, largest=1, share=0.5, worst=rows)


def shown(shop: Shop, release: int) -> list[str]:
    return [row["features"] for row in (shop.release(release).differences or {})["worst"]]


def everything(shop: Shop, release: int) -> str:
    """All rows of all tables, the release's page, and the files of releases."""
    with shop.sessions.begin() as session:
        tables = session.connection().exec_driver_sql(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
        )
        rows = [
            str(session.connection().exec_driver_sql(f"SELECT t::text FROM {table} t").all())
            for (table,) in tables.all()
        ]
    files = [path for path in (shop.settings.home / "releases").rglob("*.json") if path.is_file()]
    page = shop.get(f"/releases/{release}", accept="text/html").text
    return "".join([*rows, page, *(path.read_text() for path in files)])


def test_it_needs_the_operators_token(shop: Shop) -> None:
    address = f"{shop.url}/models/{shop.model}/requests"
    assert shop.client.request("DELETE", address, json={"ids": []}).status_code == 401
    assert erase(shop, ids=[]).json() == NOTHING


@pytest.mark.parametrize(
    "body", [{}, {"ids": [], "field": "a", "value": 1}, {"field": "a"}, {"field": "", "value": 1}, {"ids": 1}]
)
def test_a_body_of_another_form_erases_nothing(shop: Shop, body: dict[str, Any]) -> None:
    assert erase(shop, **body).status_code == 422


def test_an_erased_row_is_found_nowhere(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    response = shop.predict({"name": SECRET, "x": 1})
    other = shop.predict({"name": "kept", "x": 2})
    rows_of(shop, other, 1)
    text = json.dumps({"name": SECRET, "x": 1})
    release = shop.publish(
        main_py("return 2"),
        differences=compared(
            [
                {"features": text},  # of before rows had ids
                {"features": "cut off" + SECRET, "prediction": response.headers[ID]},
                {"features": json.dumps({"name": "kept", "x": 2}), "prediction": other.headers[ID]},
            ]
        ),
    )
    left = HomeLayout(shop.settings.home).release_path(release) / "differences-7/requests.json"
    left.parent.mkdir(parents=True)
    left.write_text(text)
    assert SECRET in everything(shop, release)

    answer = erase(shop, ids=[response.headers[ID]]).json()

    assert answer == {**NOTHING, "erased": 1, "comparisons": [release]}
    assert SECRET not in everything(shop, release)
    assert shown(shop, release) == ['{"name": "kept", "x": 2}']
    assert [row.features for row in read_rows(shop.sessions)] == [{"name": "kept", "x": 2}]
    assert erase(shop, ids=[response.headers[ID]]).json()["erased"] == 0


def test_a_value_is_erased_at_any_depth_and_hashed(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    for features in ({"who": SECRET}, {"x": [{"who": SECRET}]}, {"who": "other"}, [SECRET], {"y": SECRET}):
        last = shop.predict(features)
    rows_of(shop, last, 1)
    release = shop.publish(
        main_py("return 2"),
        record={"fields": {"who": "hash"}},
        differences=compared([{"features": json.dumps({"who": SECRET})}, {"features": '{"who": "other"}'}]),
    )
    rows_of(shop, shop.predict({"who": SECRET, "z": 1}), 1)

    answer = erase(shop, field="who", value=SECRET).json()

    assert (answer["erased"], answer["comparisons"]) == (3, [release])
    left = [row.features for row in read_rows(shop.sessions)]
    assert len(left) == 3
    assert all(one in left for one in ({"who": "other"}, [SECRET], {"y": SECRET}))
    assert shown(shop, release) == ['{"who": "other"}']


def test_a_value_in_a_list_is_erased_in_copies_too(shop: Shop) -> None:
    old = json.dumps({"who": ["a", SECRET], "z": 1})  # its row is gone
    release = shop.publish(main_py("return 1"), differences=compared([{"features": old}]))
    shop.predict({"who": ["a", SECRET]})

    answer = erase(shop, field="who", value="a").json()

    assert (answer["erased"], answer["comparisons"]) == (1, [release])
    assert SECRET not in everything(shop, release)


def test_numbers_and_quotes_are_erased_as_they_are(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    for features in ({'a"b': 7}, {"n": 7.0}, {"n": "7"}, {"n": None}, {"n": True}):
        last = shop.predict(features)
    rows_of(shop, last, 1)

    assert erase(shop, field='a"b', value=7).json()["erased"] == 1
    assert erase(shop, field="n", value=7).json()["erased"] == 1
    assert erase(shop, field="n", value=None).json()["erased"] == 1
    assert erase(shop, field="n' || true", value=1).json()["erased"] == 0
    left = [row.features for row in read_rows(shop.sessions)]
    assert len(left) == 2
    assert all(one in left for one in ({"n": "7"}, {"n": True}))


@pytest.mark.parametrize(
    "body",
    [
        '{"field": "a", "value": NaN}',
        '{"field": "a", "value": 1e999}',
        '{"field": "a", "value": "\\u0000"}',
        '{"field": "\\u0000", "value": 1}',
        '{"field": "a", "value": ' + "9" * 5000 + "}",
        '{"field": "\\ud800", "value": 1}',
    ],
)
def test_what_no_row_can_hold_is_refused(shop: Shop, body: str) -> None:
    headers = {
        "Authorization": f"Bearer {read_stored(shop.settings.home)}",
        "Content-Type": "application/json",
    }
    address = f"{shop.url}/models/{shop.model}/requests"
    with shop.sessions.begin() as session:
        request_partitions.create_missing(session)

    assert shop.client.request("DELETE", address, content=body, headers=headers).status_code == 422


def test_forged_and_foreign_ids_erase_nothing(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    made = shop.predict(1).headers[ID]
    forged = made[:-1] + ("0" if made[-1] != "0" else "1")
    assert erase(shop, ids=[forged, "x", ""]).json()["erased"] == 0
    assert erase(shop, ids=[made]).json()["erased"] == 1  # although it has just been queued


def test_what_was_recorded_is_erased_with_the_log_off(make_shop: Callable[..., Shop]) -> None:
    with make_shop().serving() as shop:
        shop.publish(main_py("return 1"), record={"fields": {"who": "hash"}})
        by_id = shop.predict({"x": 1})
        rows_of(shop, shop.predict({"who": SECRET}), 1)
        rows_of(shop, by_id, 1)
    with make_shop(SLIPWAY_RECORD="0").serving() as shop:
        assert erase(shop, ids=[by_id.headers[ID]]).json()["erased"] == 1
        assert erase(shop, field="who", value=SECRET).json()["erased"] == 1
        assert ID not in shop.predict({"x": 2}).headers
    assert read_rows(shop.sessions) == []


def test_rows_of_a_model_that_is_not_followed_are_erased(make_shop: Callable[..., Shop]) -> None:
    with make_shop().serving() as shop:
        shop.publish(main_py("return 1"))
        by_id = shop.predict({"x": 1})
        rows_of(shop, shop.predict({"who": SECRET}), 1)
        rows_of(shop, by_id, 1)
    with make_shop(SLIPWAY_REPOSITORY="acme/another").serving() as other:
        assert other.get("/models/web-traffic").status_code == 404
        assert erase(other, "web-traffic", ids=[by_id.headers[ID]]).json()["erased"] == 1
        assert erase(other, "web-traffic", field="who", value=SECRET).json()["erased"] == 1
        assert [erase(other, name, ids=[]).status_code for name in ("never", "a%00b")] == [404, 404]
    assert read_rows(shop.sessions) == []


def test_a_release_that_is_being_compared_is_named(shop: Shop) -> None:
    release = shop.publish(main_py("return 1"))
    folder: Path = HomeLayout(shop.settings.home).release_path(release)
    (folder / "differences-1").mkdir(parents=True)
    with filelock.acquire(folder / "builder.lock"):
        assert erase(shop, ids=[]).json()["building"] == [release]
        assert (folder / "differences-1").exists()
    assert erase(shop, ids=[]).json()["building"] == []
    wait_until(lambda: not (folder / "differences-1").exists(), 10, "what a dead builder left is removed")


def test_ground_truth_is_erased_with_its_row(shop: Shop) -> None:
    release = shop.publish(main_py("return 1"))
    call, other = recorded(shop, {"x": 1}), recorded(shop, {"x": 2})
    items = [{"prediction": one, "value": value} for one, value in ((call, SECRET), (other, "kept"))]
    assert counts(send(shop, items)) == {"stored": 2}
    assert counts(send(shop, [{"prediction": call, "value": 2}])) == {"stored": 1, "replaced": 1}
    assert SECRET in everything(shop, release)

    assert erase(shop, ids=[call]).json() == {**NOTHING, "erased": 1, "ground_truth": 1}

    assert SECRET not in everything(shop, release)
    assert [one.value for one in values(shop)] == ["kept"]


def test_a_value_is_erased_from_ground_truth_alone(shop: Shop) -> None:
    release = shop.publish(main_py("return 1"))
    of_row, replaced, early = recorded(shop, {"who": SECRET}), recorded(shop, {"x": 1}), make_early(shop)
    for value in ({"deep": [{"who": SECRET}]}, {"who": "other"}):
        for call in (replaced, early):
            assert send(shop, [{"prediction": call, "value": value}]).status_code == 200
    assert counts(send(shop, [{"prediction": of_row, "value": 1}])) == {"stored": 1}
    assert [one.is_early for one in values(shop)] == [False, False, True]

    assert erase(shop, field="who", value=SECRET).json() == {**NOTHING, "erased": 1, "ground_truth": 3}

    assert SECRET not in everything(shop, release)
    assert values(shop) == []
    assert [row.features for row in read_rows(shop.sessions)] == [{"x": 1}]
