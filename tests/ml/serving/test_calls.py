"""Many rows in one call: TensorFlow Serving's and MLflow's forms."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import plain_http
from tests.harness.raw import connect
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Load, Shop, main_py

HOUSE = """
class House(typing.TypedDict):
    area: float
    city: str
"""
ROWS = [{"area": 30.5, "city": "Ulm"}, {"area": 2, "city": "7"}]
TOLD = [[30.5, "Ulm"], [2.0, "7"]]


@pytest.fixture
def houses(make_shop: Callable[..., Shop]) -> Iterator[Shop]:
    """A model that says what it was given, and does not like the city of Gotham."""
    with make_shop().serving() as shop:
        predict = "if features['city'] == 'Gotham': raise ValueError('bats')\n"
        predict += "return [features['area'], features['city']]"
        shop.publish(main_py(predict, HOUSE, features="features: House"))
        yield shop


EACH_FORM_IS_THE_SAME_ROWS: list[Any] = [
    ("/v1/models/web-traffic:predict", {"instances": ROWS, "signature_name": "serving_default"}),
    ("/v1/models/web-traffic/versions/1:predict", {"instances": ROWS}),
    ("/invocations", {"instances": ROWS}),
    ("/models/web-traffic/invocations", {"dataframe_records": ROWS}),
    ("/invocations", {"inputs": ROWS}),
    ("/invocations", {"inputs": {"area": [30.5, 2], "city": ["Ulm", "7"]}}),
    (
        "/invocations",
        {
            "dataframe_split": {
                "index": [0, 1],
                "columns": ["city", "area"],
                "data": [["Ulm", 30.5], ["7", 2]],
            }
        },
    ),
    ("/invocations", "city,area\nUlm,30.5\n7,2\n"),
]


def test_each_form_is_the_same_rows(houses: Shop) -> None:
    for path, body in EACH_FORM_IS_THE_SAME_ROWS:
        content = (
            {"content": body, "headers": {"Content-Type": "text/csv"}}
            if isinstance(body, str)
            else {"json": body}
        )
        answer = houses.client.post(houses.url + path, **content)

        assert answer.status_code == 200, answer.text
        assert answer.json() == {
            "predictions": TOLD,
            "model": "web-traffic",
            "release": 1,
            "commit": houses.release(1).commit,
        }
        assert answer.headers["X-Slipway-Release"] == "1"
        assert answer.headers["X-Request-ID"]


WHAT_IS_WRONG_IS_NAMED_WITH_ITS_ROW: list[Any] = [
    (
        "/v1/models/web-traffic:predict",
        {"instances": [ROWS[0], {"area": 1}]},
        422,
        "instances[1]: city is missing",
    ),
    (
        "/v1/models/web-traffic:predict",
        {"instances": [{"area": 1, "city": "Gotham"}]},
        500,
        "ValueError: bats",
    ),
    ("/v1/models/web-traffic:predict", {"instances": 1}, 422, "$.instances"),
    ("/v1/models/web-traffic:predict", {"inputs": {}}, 422, "equally long"),
    ("/v1/models/web-traffic:predict", {}, 422, "instances"),
    ("/v1/models/web-traffic:predict", {"inputs": {}, "instances": []}, 422, "instances"),
    ("/v1/models/web-traffic:predict", {"instances": []}, 422, "empty"),
    ("/v1/models/web-traffic:predict", {"instances": [1] * 1001}, 413, "1000"),
    ("/v1/models/other:predict", {"instances": ROWS}, 404, "no model 'other'"),
    ("/v1/models/web-traffic/versions/7:predict", {"instances": ROWS}, 404, "release 1"),
    ("/invocations", {}, 422, "none of them"),
    ("/invocations", {"inputs": 1, "instances": []}, 422, "instances and inputs"),
    ("/invocations", {"inputs": {"area": [1, 2], "city": ["x"]}}, 422, "area: 2, city: 1"),
    (
        "/invocations",
        {"dataframe_split": {"columns": ["area"], "data": [[1, 2]]}},
        422,
        "data[0] has 2 values",
    ),
    ("/invocations", {"dataframe_split": {"columns": ["a", "a"], "data": []}}, 422, "a, a"),
    (
        "/invocations",
        {"dataframe_records": [{"area": "x", "city": ""}]},
        422,
        "dataframe_records[0]: area has to",
    ),
    ("/invocations", {"instances": ROWS, "params": {"k": 1}}, 422, "params"),
    ("/invocations", [1], 422, "dataframe_split"),
]


def test_what_is_wrong_is_named_with_its_row(houses: Shop) -> None:
    for path, body, status, said in WHAT_IS_WRONG_IS_NAMED_WITH_ITS_ROW:
        answer = houses.client.post(houses.url + path, json=body)

        assert answer.status_code == status, answer.text
        assert said in answer.json()["detail"]
        assert answer.headers["content-type"] == "application/problem+json"
        if path.startswith("/v1"):
            assert answer.json()["error"] == answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"area\n1,2\n", b'"a', b"\xff\n1\n"])
def test_what_is_no_csv(houses: Shop, body: bytes) -> None:
    headers = {"Content-Type": "text/csv; charset=utf-8"}
    answer = houses.client.post(houses.url + "/invocations", content=body, headers=headers)

    assert answer.status_code in (400, 422), answer.text


def test_a_row_of_a_csv_is_counted_from_one(houses: Shop) -> None:
    headers = {"Content-Type": "text/csv"}
    for body, said in (
        ("city,area\nUlm,30\nUlm,big\n", "row 2: area has to be"),
        ("city,area\nUlm,30\nUlm\n", "row 2 has 1 values"),
    ):
        answer = houses.client.post(houses.url + "/invocations", content=body, headers=headers)
        assert (answer.status_code, answer.json()["detail"][: len(said)]) == (422, said)


def test_the_state_of_a_model(shop: Shop) -> None:
    url = shop.url + "/v1/models/web-traffic"
    assert plain_http.get(url).json()["model_version_status"][0]["state"] == "LOADING"
    assert plain_http.post(url + ":predict", json={"instances": [1]}).status_code == 503

    shop.publish(main_py())

    assert plain_http.get(url).json()["model_version_status"][0]["state"] == "AVAILABLE"
    assert plain_http.get(shop.url + "/v1/models").json() == {"models": ["web-traffic"]}


def test_a_model_of_lists_or_single_values_gets_them_from_tables(shop: Shop) -> None:
    split = {"columns": ["b", "a"], "data": [[1, 2.5]]}
    shop.publish(main_py("return sum(features)", features="features: typing.List[float]"))
    assert shop.predict({"dataframe_split": split}, "/invocations").json()["predictions"] == [3.5]

    shop.publish(main_py("return features + 1", features="features: int"))
    split = {"columns": ["days"], "data": [[1], [2]]}
    assert shop.predict({"dataframe_split": split}, "/invocations").json()["predictions"] == [2, 3]


def test_the_calls_of_the_documents_work(make_shop: Callable[..., Shop]) -> None:
    text = Path("docs/http-api.md").read_text().split("\n## Tables")[0]
    calls = re.findall(r"curl -d (\S+|'[^']+')\s+(?:\\\n\s+)?http://localhost:8000(\S+)", text)
    assert len(calls) == 4
    with make_shop(SLIPWAY_REPOSITORY="demo/encyclopedia-visits").serving() as shop:
        shop.publish(
            main_py("return [['2026-01-31', float(day)] for day in range(features)]"), kind="time-series"
        )
        for body, path in calls:
            answer = shop.client.post(
                shop.url + path,
                content=body.strip("'"),
                headers={"Content-Type": "application/x-www-form-urlencoded"},  # what curl says
            )
            assert answer.status_code == 200, (path, answer.text)
            assert answer.headers["X-Slipway-Release"] == "1"


def test_all_rows_of_a_call_are_one_releases_also_in_a_switch(shop: Shop) -> None:
    shop.publish(main_py("time.sleep(0.0005); return 1"))
    answers: list[httpx.Response] = []
    with Load(shop, clients=2) as load:
        for release in (2, 3):
            shop.publish(main_py(f"time.sleep(0.0005); return {release}"), wait=False)
            while not answers or answers[-1].json()["release"] != release:
                answers.append(
                    shop.predict({"instances": list(range(200))}, "/v1/models/web-traffic:predict")
                )

    assert load.failed == []
    for answer in answers:
        assert answer.json()["predictions"] == [answer.json()["release"]] * 200


def test_a_call_is_answered_by_the_release_its_rows_are_for(shop: Shop) -> None:
    zipped, features = "class Place(typing.TypedDict):\n    zip: {}\n", "features: Place"
    shop.publish(main_py("time.sleep(0.01); return features['zip']", zipped.format("str"), features=features))
    many = {"instances": [{"zip": "007"}] * 1000}
    table = {"content": "zip\n" + "007\n" * 1000, "headers": {"Content-Type": "text/csv"}}
    with ThreadPoolExecutor(2) as clients:
        of_version = clients.submit(shop.predict, many, "/v1/models/web-traffic/versions/1:predict")
        of_table = clients.submit(shop.client.post, shop.url + "/invocations", **table)
        time.sleep(0.3)
        shop.publish(main_py("return features['zip']", zipped.format("int"), features=features))

    assert of_version.result().status_code == 404, of_version.result().text
    assert "live is release 2" in of_version.result().json()["detail"]
    assert of_table.result().json()["predictions"] == [7] * 1000


def test_answers_that_nobody_reads_are_bounded_and_forgotten(shop: Shop) -> None:
    shop.publish(main_py("return 'x' * 60_000"))
    body = json.dumps({"instances": [0] * 250})
    head = f"POST /v1/models/{shop.model}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"

    def refused() -> bool:
        answer = shop.client.post(f"{shop.url}/v1/models/{shop.model}:predict", content=body)
        return answer.status_code == 503 and "answers wait for their clients" in answer.text

    with ExitStack() as connections:
        waiting = [connections.enter_context(connect(shop.url)) for _ in range(5)]
        for connection in waiting:
            connection.sendall(f"{head}\r\n\r\n{body}".encode())
        for connection in waiting:
            assert connection.recv(1, socket.MSG_PEEK)  # its answer has begun, or was refused
        wait_until(refused, 25, "there is no room for more")
    wait_until(lambda: not refused(), 60, "what they left is forgotten")
