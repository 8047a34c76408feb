"""Every protocol records its predictions, each call with an id of its own."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.request_log_models import RecordedRequest
from tests.harness.recorded import read_rows
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, apart, main_py

ID = "X-Slipway-Prediction"
HTML = {"Accept": "text/html"}


def post(path: str, body: Any, **headers: str) -> Callable[[Shop], httpx.Response]:
    def send(shop: Shop) -> httpx.Response:
        content = body if isinstance(body, str) else None
        return shop.client.post(
            shop.url + path, json=None if content else body, content=content, headers=headers
        )

    return send


TENSOR = {"inputs": [{"name": "x", "shape": [2], "datatype": "INT64", "data": [3, 7]}]}
CSV = {"Content-Type": "text/csv"}
CALLS: dict[str, tuple[Callable[[Shop], httpx.Response], str, list[Any]]] = {
    "own": (post("/predict", {"x": 3}), "predict", [{"x": 3}]),
    "of a model": (post("/models/web-traffic/predict", 3), "predict", [3]),
    "V1": (post("/v1/models/web-traffic:predict", {"instances": [3, 7]}), "v1", [3, 7]),
    "V2": (post("/v2/models/web-traffic/infer", TENSOR), "v2", [3, 7]),
    "MLflow": (post("/invocations", {"instances": [[1], None]}), "invocations", [[1], None]),
    "CSV": (post("/invocations", "x,y\n1,2\n3,4\n", **CSV), "csv", [{"x": 1, "y": 2}, {"x": 3, "y": 4}]),
    "URL": (lambda shop: shop.get("/predict?x=3&y=4"), "url", [{"x": 3, "y": 4}]),
    "form": (
        lambda shop: shop.client.get(shop.url + "/predict?x=3&y=4", headers=HTML),
        "form",
        [{"x": 3, "y": 4}],
    ),
}


def rows_of(shop: Shop, response: httpx.Response, count: int) -> list[RecordedRequest]:
    """The rows of a call, when they are there."""

    def found() -> list[RecordedRequest] | None:
        rows = [row for row in read_rows(shop.sessions) if str(row.id) == response.headers[ID]]
        return rows if len(rows) == count else None

    rows = wait_until(found, 20, f"{count} rows of the call are recorded")
    assert rows is not None
    return rows


def count(shop: Shop, outcome: str) -> float:
    """What Prometheus counts of the rows of all models."""
    name = "slipway_request_log_rows_total"
    lines = [line for line in shop.get("/metrics").text.splitlines() if line.startswith(name)]
    return sum(float(line.split()[-1]) for line in lines if f'outcome="{outcome}"' in line)


def test_each_protocol_records_its_rows_with_their_id(shop: Shop) -> None:
    release = shop.publish(main_py("return [features]"))
    seen = set()
    for name, (send, route, features) in CALLS.items():
        response = send(shop)
        assert response.status_code == 200, (name, response.text)
        assert uuid.UUID(response.headers[ID]).version == 7
        rows = rows_of(shop, response, len(features))
        seen.add(response.headers[ID])
        assert [row.features for row in rows] == features, name
        assert [row.answer for row in rows] == [[one] for one in features], name
        assert [row.row for row in rows] == list(range(len(features)))
        for row in rows:
            assert (row.model, row.release_id, row.route) == (shop.model, release, route), name
            assert (row.error, row.is_whole, row.is_reduced) == (None, True, False)
            assert row.client_id == response.headers["X-Request-ID"]
            assert row.milliseconds > 0
    assert len(seen) == len(CALLS)
    assert count(shop, "recorded") == len(read_rows(shop.sessions))


def test_the_clients_id_is_beside_ours(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    response = shop.client.post(shop.url + "/predict", json=1, headers={"X-Request-ID": "mine"})
    [row] = rows_of(shop, response, 1)
    assert (row.client_id, response.headers["X-Request-ID"]) == ("mine", "mine")
    assert row.client_id != str(row.id)


def test_an_error_is_recorded_by_its_kind(shop: Shop) -> None:
    shop.publish(main_py("if features == 2: raise ValueError('secret')\nreturn 1"))
    alone = shop.predict(2)
    many = shop.client.post(shop.url + "/v1/models/web-traffic:predict", json={"instances": [1, 2, 3]})
    assert (alone.status_code, many.status_code) == (500, 500)

    for response, number in ((alone, 0), (many, 1)):
        [row] = rows_of(shop, response, 1)
        assert (row.row, row.features, row.answer, row.error) == (number, 2, None, "ValueError")


def test_what_reaches_no_model_has_no_id(shop: Shop) -> None:
    assert ID not in shop.predict(1).headers
    shop.publish(main_py("return 1"))
    assert ID not in shop.client.post(shop.url + "/predict", content="no JSON").headers
    assert ID not in shop.client.get(shop.url + "/predict", headers=HTML).headers


HOSTILE = {
    "nul": '"a\\u0000b"',
    "deep": "[" * 400 + "]" * 400,
    "large": '"' + "x" * 100_000 + '"',
    "huge integer": "9" * 4000,
    "small float": "1e-400",
}


def test_hostile_features_cost_no_other_row(shop: Shop) -> None:
    shop.publish(main_py("return 1"))
    for name, body in HOSTILE.items():
        response = shop.client.post(shop.url + "/predict", content=body)
        if ID in response.headers:
            [row] = rows_of(shop, response, 1)
            assert row.is_whole == (row.features is not None), name
    assert shop.client.post(shop.url + "/predict", content='"\\ud800"').status_code == 400
    [row] = rows_of(shop, shop.predict({"x": 1}), 1)
    assert row.features == {"x": 1}
    assert count(shop, "dropped") == 0


def test_a_switch_turns_all_of_it_off(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_RECORD="0").serving() as shop:
        shop.publish(main_py())
        for _, (send, _, _) in CALLS.items():
            assert ID not in send(shop).headers
        assert "slipway_request_log_rows_total{" not in shop.get("/metrics").text
    assert read_rows(shop.sessions) == []


def test_the_key_is_closed_to_others(shop: Shop) -> None:
    assert (shop.settings.home / "record.key").stat().st_mode & 0o777 == 0o600


def test_a_crash_of_postgres_harms_no_prediction(make_shop: Callable[..., Shop], tmp_path: Path) -> None:
    with apart(make_shop, tmp_path) as (own, postgres), own.serving() as shop:
        shop.publish(main_py("return 1"))
        rows_of(shop, shop.predict(0), 1)
        postgres.stop()
        lost = [shop.predict(number) for number in range(10)]
        assert {response.status_code for response in lost} == {200}
        wait_until(lambda: count(shop, "dropped") == 10, 60, "the lost rows are counted")
        postgres.start()

        def is_recorded() -> bool:
            response = shop.predict("after")
            assert response.status_code == 200
            return any(row.features == "after" for row in read_rows(shop.sessions))

        wait_until(is_recorded, 60, "recording goes on")


@pytest.fixture
def configured(make_shop: Callable[..., Shop], tmp_path: Path) -> Callable[[str], Shop]:
    """A shop whose models.toml has these lines for its one model."""

    def make(lines: str) -> Shop:
        file = tmp_path / "models.toml"
        url = (tmp_path / "repository").as_uri()
        file.write_text(f'[one]\nrepository = "acme/one"\nclone_url = "{url}"\n{lines}\n')
        return make_shop(SLIPWAY_REPOSITORY="", SLIPWAY_CLONE_URL="", SLIPWAY_MODELS=str(file))

    return make


def test_the_operators_file_wins_over_the_repository(configured: Callable[[str], Shop]) -> None:
    with configured("[one.record]\nfields = { a = 'drop', b = 'keep' }").serving() as shop:
        shop.publish(main_py("return 1"), record={"fields": {"a": "keep", "b": "drop", "c": "hash"}})
        [row] = rows_of(shop, shop.predict({"a": 1, "b": 2, "c": 3}), 1)
        stored: dict[str, Any] = row.features or {}
        assert stored.keys() == {"b", "c"}
        assert stored["b"] == 2
        assert stored["c"].startswith("hmac:")


def test_a_rollback_records_no_more_than_before_it(shop: Shop) -> None:
    older = shop.publish(main_py("return 1"))
    shop.publish(main_py("return 2"), record={"fields": {"ssn": "drop"}})
    shop.want(older)
    wait_until(lambda: shop.served() == older, 60, "the older release is live")

    [row] = rows_of(shop, shop.predict({"ssn": 1, "x": 2}), 1)
    assert row.features == {"x": 2}


def test_a_model_that_is_not_recorded_gets_no_ids(configured: Callable[[str], Shop]) -> None:
    with configured("[one.record]\nenabled = false").serving() as shop:
        shop.publish(main_py("return 1"), record={"enabled": True})
        assert ID not in shop.predict(1).headers


def test_hidden_fields_are_found_nowhere(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    rules = {"fields": {"dropped": "drop", "hashed": "hash"}}
    release = shop.publish(
        main_py("if features.get('fail'): raise ValueError('oh ' + features['dropped'])\nreturn 1"),
        record=rules,
    )
    features = {"dropped": "tell-nobody-1", "hashed": "tell-nobody-2", "kept": "seen"}
    rows_of(shop, shop.predict(features), 1)
    rows_of(shop, shop.client.post(shop.url + "/invocations", json={"instances": [features] * 2}), 2)
    rows_of(shop, shop.predict(features | {"fail": 1}), 1)

    with shop.sessions.begin() as session:
        tables = session.connection().exec_driver_sql(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
            "WHERE schemaname IN ('public', 'vcs')"
        )
        stored = [
            str(session.connection().exec_driver_sql(f"SELECT t::text FROM {table} t").all())
            for (table,) in tables.all()
        ]
    pages = [shop.get(path, accept="text/html").text for path in ("/", "/releases", f"/releases/{release}")]
    written = "".join(capfd.readouterr())
    assert "seen" in "".join(stored)
    assert "tell-nobody" not in "".join([*stored, *pages, written])
