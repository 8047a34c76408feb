"""What every call has: a request id, a bound on what is held, and an answer of its own to each odd body."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ml.serving import request_body
from ml.serving.predict import batch
from tests.harness import plain_http
from tests.harness.raw import exchange
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, main_py

MODEL = """
if features == "raise": raise ValueError("not today")
if features == "die": os._exit(9)
if features == "sleep": time.sleep(60)
if features == "nap": time.sleep(3)
return len(features) if isinstance(features, (str, list)) else features
"""


@pytest.fixture
def odd(make_shop: Callable[..., Shop]) -> Iterator[Shop]:
    """A model that does what it is told, raising, dying and sleeping included."""
    with make_shop(SLIPWAY_PREDICT_TIMEOUT="5").serving() as shop:
        shop.publish(main_py(MODEL))
        yield shop


def raw(shop: Shop, *pieces: bytes) -> bytes:
    return exchange(shop.url, *pieces)


def test_a_request_has_a_name_that_is_in_its_answer(odd: Shop) -> None:
    given = {"X-Request-ID": "checkout-7f/42"}
    for call in ("/predict", "/models/web-traffic/predict"):
        assert (
            odd.client.post(odd.url + call, json=1, headers=given).headers["X-Request-ID"] == "checkout-7f/42"
        )
    assert odd.get("/health").headers["X-Request-ID"] != odd.get("/health").headers["X-Request-ID"]
    assert odd.predict(1).headers["X-Request-ID"] != odd.predict(1).headers["X-Request-ID"]

    missing = odd.client.get(odd.url + "/nowhere", headers=given)
    unread = odd.client.post(odd.url + "/predict", content=b"{", headers=given)
    assert missing.json()["request_id"] == unread.json()["request_id"] == "checkout-7f/42"
    for insane in ("x" * 101, "a b", "caf\u00e9", ""):
        header = {"X-Request-ID": insane.encode()}
        assert odd.client.post(odd.url + "/predict", json=1, headers=header).headers["X-Request-ID"] != insane


def test_what_went_wrong_is_in_the_log_by_the_requests_name(odd: Shop, lines: list[str]) -> None:
    answers = {
        name: odd.client.post(odd.url + "/predict", json=name, headers={"X-Request-ID": f"r-{name}"})
        for name in ("raise", "die", "sleep")
    }

    assert [(name, answer.status_code) for name, answer in answers.items()] == [
        ("raise", 500),
        ("die", 503),
        ("sleep", 504),
    ]
    for name, answer in answers.items():
        assert any(f"request r-{name}" in line for line in lines), lines
        assert answer.headers["X-Slipway-Release"] == "1"
        assert (answer.json()["request_id"], answer.json()["release"]) == (f"r-{name}", 1)


def test_what_waits_is_bounded_in_bytes(odd: Shop) -> None:
    large = b'"' + b"x" * ((1 << 20) - 2) + b'"'

    def ask(content: bytes) -> httpx.Response:
        return client.post(odd.url + "/predict", content=content)

    with plain_http.Client(timeout=60, trust_env=False) as client, ThreadPoolExecutor(72) as clients:
        first = clients.submit(ask, b'"nap"')
        answers = [asked.result() for asked in [clients.submit(ask, large) for _ in range(70)]]

    assert first.result().status_code == 200
    busy = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all(answer.headers["Retry-After"] for answer in busy)
    with plain_http.Client(timeout=60, trust_env=False) as client:
        wait_until(lambda: ask(large).status_code == 200, 10, "there is room again")


AN_ODD_BODY_GETS_AN_ANSWER_OF_ITS_OWN: list[Any] = [
    (b"[" * 400_000 + b"]" * 400_000, {}, 400, "JSON"),
    (b"1e999", {}, 400, "range"),
    (b"[NaN]", {}, 400, "JSON"),
    (b"-Infinity", {}, 400, "JSON"),
    (b'"\xed\xa0\x80"', {}, 400, "JSON"),
    (b'"\xff"', {}, 400, "JSON"),
    ('"é"'.encode("utf-16"), {"Content-Type": "application/json; charset=utf-16"}, 400, "JSON"),
    (b"a,b\n1,2\n", {"Content-Type": "text/csv"}, 415, "text/csv"),
    (b"a=1&b=2", {"Content-Type": "application/x-www-form-urlencoded"}, 400, "JSON"),
    (b"\x1f\x8b\x08", {"Content-Encoding": "gzip"}, 415, "gzip"),
    (b"1", {"Expect": "a-miracle"}, 417, "a-miracle"),
    (b"1" * 5000, {}, 400, "range"),
]


def test_an_odd_body_gets_an_answer_of_its_own(odd: Shop) -> None:
    for body, headers, status, said in AN_ODD_BODY_GETS_AN_ANSWER_OF_ITS_OWN:
        answer = odd.client.post(odd.url + "/predict", content=body, headers=headers)

        assert answer.status_code == status, answer.text
        assert said in answer.json()["detail"]
        assert odd.predict([1, 2]).json()["prediction"] == 2


WHAT_IS_ODD_AND_JSON_REACHES_THE_MODEL: list[Any] = [
    (b'{"a": 1, "a": 2}', {"a": 2}),  # as every parser in use has it: the last one holds
    (b"1e308", 1e308),
    (b"123456789012345678901234567890", 123456789012345678901234567890),
    (b"[" * 300 + b"]" * 300, 1),
    (b'"\\ud83d\\ude00"', 1),
]


def test_what_is_odd_and_json_reaches_the_model(odd: Shop) -> None:
    for body, prediction in WHAT_IS_ODD_AND_JSON_REACHES_THE_MODEL:
        headers = {"Content-Type": "text/plain"}  # JSON by what it is, whatever it says it is
        answer = odd.client.post(odd.url + "/predict", content=body, headers=headers)

        assert (answer.status_code, answer.json().get("prediction")) == (200, prediction)


def test_a_text_without_an_end_takes_no_time() -> None:
    body = b'"' + b'\\"' * 20_000  # each quote in it might begin a text
    began = time.perf_counter()

    assert request_body.explain_not_json(ValueError("truncated"), body) == "truncated"
    assert batch.NAN_OR_STRING.sub(batch.replace_nan, body + b"NaN").endswith(b"null")
    assert time.perf_counter() - began < 1


def test_a_body_without_an_end_is_cut_off(odd: Shop) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"

    answer = raw(odd, head, *[chunk] * 17)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    assert odd.predict([1]).status_code == 200


def test_a_body_that_stalls_is_given_up(odd: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "SLOW", 0.3)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert raw(odd, head + b"1\r\n1\r\n").startswith(b"HTTP/1.1 408 ")
    assert odd.predict([1]).status_code == 200


def test_who_asks_first_is_told_before_sending(odd: Shop) -> None:
    ask = b"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"

    assert raw(odd, ask % (2 << 20)).startswith(b"HTTP/1.1 413 ")
    assert raw(odd, ask % 1).startswith(b"HTTP/1.1 100 ")
