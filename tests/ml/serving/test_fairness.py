"""Calls of many rows beside each other and beside single ones: who waits for what."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.ml.serving.support import Shop, main_py
from tests.support.waiting import wait_until

COUNTING = main_py(
    "global count\ncount += 1\ntime.sleep(0.002)\nreturn count", "count = 0", features="features: int"
)


def call(shop: Shop, rows: list[Any], timeout: float = 60) -> httpx.Response:
    return httpx.post(f"{shop.url}/v1/models/{shop.model}:predict", json={"instances": rows}, timeout=timeout)


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
