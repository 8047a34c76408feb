"""Calls of many rows beside each other and beside single ones: who waits for what."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.harness import plain_http
from tests.harness.raw import connect
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, main_py

COUNTING = main_py(
    "global count\ncount += 1\ntime.sleep(0.002)\nreturn count", "count = 0", features="features: int"
)


def call(shop: Shop, rows: list[Any], timeout: float = 60) -> httpx.Response:
    return plain_http.post(
        f"{shop.url}/v1/models/{shop.model}:predict", json={"instances": rows}, timeout=timeout
    )


def count(shop: Shop) -> int:
    """How many rows the model has been asked for so far, this one as well."""
    number: int = shop.predict(1).json()["prediction"]
    return number


def test_rows_of_a_call_that_has_failed_are_not_computed(shop: Shop) -> None:
    shop.publish(COUNTING)

    assert call(shop, ["bad"] + [1] * 999).status_code == 422

    assert count(shop) < 400  # those that had left already


def test_rows_of_a_client_that_has_left_are_not_computed(shop: Shop) -> None:
    shop.publish(COUNTING)

    with pytest.raises(httpx.ReadTimeout):
        call(shop, [1] * 1000, timeout=0.2)
    none = f'slipway_requests_waiting{{model="{shop.model}"}} 0.0'
    wait_until(lambda: none in shop.get("/metrics").text, 30, "nothing waits")

    assert count(shop) < 900


@pytest.mark.parametrize("request_line", ["POST /predict", "GET /predict?x=3000"])
def test_a_single_row_of_a_client_that_has_left_is_not_computed(shop: Shop, request_line: str) -> None:
    shop.publish(COUNTING.replace("0.002", "features / 1000"))
    head = f"{request_line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"
    working = f'slipway_requests_waiting{{model="{shop.model}"}} 20.0'
    none = f'slipway_requests_waiting{{model="{shop.model}"}} 0.0'

    with ExitStack() as clients:
        for _ in range(21):  # the first is worked on
            clients.enter_context(connect(shop.url)).sendall(f"{head}3000".encode())
        wait_until(lambda: working in shop.get("/metrics").text, 30, "all wait")
    wait_until(lambda: none in shop.get("/metrics").text, 30, "nothing waits")

    assert count(shop) <= 3


LEAVING = {
    "predict": ("POST /predict", "Content-Length: 4\r\n\r\n3000"),
    "predict by URL": ("GET /predict?features=3000", "\r\n"),
    "v1": ("POST /v1/models/web-traffic:predict", 'Content-Length: 21\r\n\r\n{"instances": [3000]}'),
    "v1 in the midst of its body": (
        "POST /v1/models/web-traffic:predict",
        'Content-Length: 21\r\n\r\n{"instances"',
    ),
}


@pytest.mark.parametrize("way", LEAVING)
def test_a_client_that_has_left_is_counted_as_that(shop: Shop, way: str) -> None:
    shop.publish(COUNTING.replace("0.002", "features / 1000"))
    line, rest = LEAVING[way]
    counted = f'slipway_requests_total{{call="{way.split(maxsplit=1)[0]}",model="{shop.model}",status='
    working = f'slipway_requests_in_flight{{model="{shop.model}"}} 1.0'

    with connect(shop.url) as client:
        client.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\n{rest}".encode())
        if not way.endswith("body"):
            wait_until(lambda: working in shop.get("/metrics").text, 30, "a worker has it")
    wait_until(lambda: counted in shop.get("/metrics").text, 30, "it is counted")

    assert f'{counted}"499"}} 1.0' in shop.get("/metrics").text


def test_calls_of_many_rows_are_taken_whole_beside_each_other(shop: Shop) -> None:
    shop.publish(main_py("return features", features="features: int"))
    rows = list(range(1000))

    with ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(lambda _: call(shop, rows), range(6)))

    assert [answer.status_code for answer in answers] == [200] * 6
    assert all(answer.json()["predictions"] == rows for answer in answers)


def test_a_single_row_does_not_wait_for_all_rows_of_a_call(shop: Shop) -> None:
    shop.publish(COUNTING)
    before = count(shop)
    many = threading.Thread(target=call, args=(shop, [1] * 1000))
    many.start()
    while (now := count(shop)) == before + 1:
        before = now
    many.join()

    assert now - before < 500
