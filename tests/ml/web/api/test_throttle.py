"""Guesses come slowly, and whoever knows the token gets in all the same."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from starlette.requests import Request

from common.auth import operator_token, session_cookie, throttle
from common.auth.throttle import TokenThrottle, client_address
from tests.harness import plain_http
from tests.harness.raw import connect
from tests.ml.serving.support import Shop, main_py

PAGE = {"Accept": "text/html"}
FORWARDED = "X-Forwarded-For"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has to wait waits for longer than anybody else takes."""
    monkeypatch.setattr(throttle, "DELAY_STEP_SECONDS", 30)
    monkeypatch.setattr(throttle, "MAX_DELAY_SECONDS", 30)


def client(shop: Shop, address: str = "127.0.0.1", **headers: str) -> httpx.Client:
    transport = httpx.HTTPTransport(local_address=address)
    return plain_http.Client(base_url=shop.url, transport=transport, timeout=60, headers=headers)


def guess(caller: httpx.Client, way: str, presented: str = "wrong") -> int:
    if way == "header":
        return caller.get("/releases", headers={"Authorization": f"Bearer {presented}"}).status_code
    if way == "call":
        headers = {"Authorization": f"Bearer {presented}"}
        return caller.post("/models/web-traffic/rollback", headers=headers).status_code
    if way == "link":
        return caller.get("/sign-in", params={"token": presented}, headers=PAGE).status_code
    return caller.post("/sign-in", data={"token": presented}, headers=PAGE).status_code


def request(way: str, presented: str = "wrong", more: str = "") -> bytes:
    """What `guess` sends, byte by byte."""
    method, path, body = {
        "form": ("POST", "/sign-in", f"token={presented}"),
        "link": ("GET", f"/sign-in?token={presented}", ""),
        "header": ("GET", "/releases", ""),
        "call": ("POST", "/models/web-traffic/rollback", ""),
    }[way]
    bearer = "" if way in ("form", "link") else f"Authorization: Bearer {presented}\r\n"
    form = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{bearer}{form}{more}\r\n{body}".encode()


def has_answer(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1 << 16))
    except BlockingIOError:
        return False


@pytest.mark.parametrize("way", ["form", "link", "header", "call"])
def test_guesses_of_one_address_wait_and_others_do_not(
    make_shop: Callable[..., Shop], slow: None, way: str
) -> None:
    """By what is answered first, whatever comes first."""
    with make_shop(SLIPWAY_PRIVATE="1").serving() as shop, connect(shop.url) as late:
        with client(shop) as attacker:
            refused = 401 if way in ("header", "call") else 403
            assert [guess(attacker, way) for _ in range(throttle.MAX_FREE_ATTEMPTS)] == [
                refused
            ] * throttle.MAX_FREE_ATTEMPTS
        late.sendall(request(way))

        with client(shop, "127.0.0.2") as other:
            assert [guess(other, way) for _ in range(throttle.MAX_FREE_ATTEMPTS)] == [
                refused
            ] * throttle.MAX_FREE_ATTEMPTS
        with client(shop, "127.0.0.3") as operator:
            known = operator_token.read_stored(shop.settings.home) or ""
            assert guess(operator, way, known) == {"header": 200, "call": 409}.get(way, 303)
        assert not has_answer(late)


def test_the_right_token_gets_in_while_many_guess(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_DELAY_SECONDS", 0.5)
    over, known = threading.Event(), operator_token.read_stored(shop.settings.home) or ""

    def guesses() -> int:
        count = 0
        with client(shop) as attacker:
            while not over.is_set():
                assert guess(attacker, "form", f"wrong-{count}") == 403
                count += 1
        return count

    with ThreadPoolExecutor(20) as threads:
        attackers = [threads.submit(guesses) for _ in range(20)]
        try:
            with client(shop) as operator:  # from the same address
                for _ in range(3):
                    assert guess(operator, "form", known) == 303
                    assert guess(operator, "call", known) in (404, 409)
        finally:
            over.set()
        assert all(attacker.result() for attacker in attackers)


def test_who_has_signed_in_never_waits(shop: Shop, slow: None) -> None:
    known = session_cookie.cookie_value(operator_token.read_stored(shop.settings.home) or "")
    with client(shop, Cookie=f"{session_cookie.COOKIE_NAME}={known}") as operator, connect(shop.url) as late:
        for _ in range(throttle.MAX_FREE_ATTEMPTS):
            guess(operator, "form")
        late.sendall(request("form"))
        assert "Sign out" in operator.get("/releases", headers=PAGE).text
        assert not has_answer(late)


def test_a_wrong_token_beside_a_prediction_is_not_ours(shop: Shop, slow: None, lines: list[str]) -> None:
    shop.publish(main_py())
    with client(shop, Authorization="Bearer of-somebody-elses") as caller:
        for _ in range(2 * throttle.MAX_FREE_ATTEMPTS):
            for path, body in (("/predict", 1), ("/invocations", {"inputs": [1]})):
                assert caller.post(path, json=body).status_code == 200
            assert caller.get("/v2/models/web-traffic").status_code == 200
            assert caller.get("/health").status_code == 200

    assert [line for line in lines if "wrong operators' token" in line] == []


def test_guesses_are_logged_and_fill_no_log(
    shop: Shop, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MAX_DELAY_SECONDS", 0)
    with client(shop) as attacker:
        for number in range(60):
            headers = {FORWARDED: f"203.0.113.{number}"}
            for _ in range(throttle.MAX_FREE_ATTEMPTS):
                attacker.post("/sign-in", data={"token": "wrong-token"}, headers=headers)

    found = [line for line in lines if "wrong operators' token" in line]
    assert "203.0.113.0" in found[0]
    assert len(found) <= 2 * throttle.MAX_LOGGED  # a minute may have begun meanwhile
    assert not any("wrong-token" in line for line in lines)


def test_memory_for_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_ADDRESSES", 50)
    judge = TokenThrottle()

    async def fail() -> None:
        for number in range(500):
            request = Request(
                {"type": "http", "headers": [], "client": (f"10.0.{number // 250}.{number % 250}", 1)}
            )
            assert not await judge.check_token(request, "wrong", "right")

    asyncio.run(fail())
    assert len(judge._failures) == 50


def test_no_more_wait_than_there_is_room_for(shop: Shop, slow: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_WAITING", 3)
    with client(shop) as attacker, ExitStack() as stack:
        for _ in range(throttle.MAX_FREE_ATTEMPTS):
            guess(attacker, "form")
        waiting = [stack.enter_context(connect(shop.url)) for _ in range(3)]
        for connection in waiting:
            connection.sendall(request("form"))
        assert [plain_http.get(f"{shop.url}/health").status_code for _ in range(3)] == [200] * 3  # they wait
        answers = [attacker.post("/sign-in", data={"token": "wrong"}) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [429] * 3
        assert [answer.headers["Retry-After"] for answer in answers] == ["30"] * 3
        assert not any(map(has_answer, waiting))


@pytest.fixture
def behind(make_shop: Callable[..., Shop]) -> Iterator[Callable[[str], Shop]]:
    """`serve` that believes these proxies."""
    with ExitStack() as stack:
        yield lambda proxies: stack.enter_context(make_shop(SLIPWAY_PROXIES=proxies).serving())


@pytest.mark.parametrize(
    ("proxies", "is_secure"),
    [("127.0.0.1", True), ("127.0.0.0/8, ::1", True), ("10.0.0.0/8", False), ("none", False)],
)
def test_a_cookie_is_secure_behind_a_proxy_that_is_believed(
    behind: Callable[[str], Shop], proxies: str, is_secure: bool
) -> None:
    shop = behind(proxies)
    given = {"token": operator_token.read_stored(shop.settings.home) or ""}
    with client(shop) as browser:
        over_tls = browser.post("/sign-in", data=given, headers={"X-Forwarded-Proto": "https"})
        plain = browser.post("/sign-in", data=given)

    assert ("secure" in over_tls.headers["Set-Cookie"].lower()) is is_secure
    assert "secure" not in plain.headers["Set-Cookie"].lower()
    assert "max-age=604800" in plain.headers["Set-Cookie"].lower()


def test_a_form_over_tls_is_from_here_behind_a_proxy(behind: Callable[[str], Shop]) -> None:
    for proxies, status in (("127.0.0.1", 404), ("none", 403)):
        shop = behind(proxies)
        known = session_cookie.cookie_value(operator_token.read_stored(shop.settings.home) or "")
        headers = {
            "Cookie": f"{session_cookie.COOKIE_NAME}={known}",
            "Host": "localhost",
            "Origin": "https://localhost",
            "X-Forwarded-Proto": "https",
        }
        assert plain_http.post(f"{shop.url}/releases/99/deploy", headers=headers).status_code == status


@pytest.mark.parametrize(("proxies", "waits"), [("127.0.0.1", False), ("none", True)])
def test_a_guess_is_from_where_a_believed_proxy_has_it(
    behind: Callable[[str], Shop], slow: None, proxies: str, waits: bool
) -> None:
    shop = behind(proxies)
    with client(shop) as proxy, connect(shop.url) as late:
        for _ in range(throttle.MAX_FREE_ATTEMPTS):
            proxy.post("/sign-in", data={"token": "wrong"}, headers={FORWARDED: "203.0.113.7"})
        late.sendall(request("form", more=f"{FORWARDED}: 203.0.113.8\r\n"))
        assert [proxy.get("/health").status_code for _ in range(5)] == [200] * 5
        assert has_answer(late) is not waits


@pytest.mark.parametrize(
    ("client_", "place"),
    [
        (("203.0.113.9", 1), "203.0.113.9"),
        (("2001:db8::1", 1), "2001:db8::/64"),
        (("2001:db8::ffff:1", 1), "2001:db8::/64"),
        (("::ffff:203.0.113.9", 1), "203.0.113.9"),
        (("evil\n2026 INFO", 0), "an unknown address"),
        (None, "an unknown address"),
    ],
)
def test_an_address_is_one_place(client_: tuple[str, int] | None, place: str) -> None:
    assert client_address(Request({"type": "http", "headers": [], "client": client_})) == place
