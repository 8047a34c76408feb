"""A page that leads its own name to this machine reads and decides nothing (DNS rebinding)."""

from collections.abc import Callable

import httpx
import pytest

from common.auth import operator_token, session_cookie
from tests.harness.raw import request
from tests.ml.serving.support import Shop, main_py

EVIL = "evil.example"
PAGES = (
    *(
        "/",
        "/releases",
        "/releases/1",
        "/releases/1/logs",
        "/models/web-traffic",
        "/models/web-traffic/scores",
    ),
    *(
        "/metrics",
        "/docs",
        "/openapi.json",
        "/sign-in",
        "/static/slipway.css",
        "/predict.csv?x=1",
        "/nowhere",
    ),
)
PREDICTIONS = {
    "/predict": 1,
    "/models/web-traffic/predict": 1,
    "/v1/models/web-traffic:predict": {"instances": [1]},
    "/invocations": {"inputs": [1]},
    "/models/web-traffic/invocations": {"inputs": [1]},
    "/v2/models/web-traffic/infer": {
        "inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [1]}]
    },
}
OF_BROWSERS = [
    {"Accept": "text/html,application/xhtml+xml"},
    {"Accept-Language": "de"},
    {"Origin": f"http://{EVIL}"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Mode": "cors"},
]


def under(shop: Shop, host: str, path: str, method: str = "GET", **more: object) -> httpx.Response:
    headers = {"Host": host, **more.pop("headers", {})}  # type: ignore[dict-item]
    return shop.client.request(method, shop.url + path, headers=headers, **more)  # type: ignore[arg-type]


def test_under_another_name_nothing_is_shown(shop: Shop) -> None:
    shop.publish(main_py())
    for path in PAGES:
        for accept in ("text/html", "*/*"):
            answer = under(shop, f"{EVIL}:8000", path, headers={"Accept": accept})
            assert (answer.status_code, path) == (421, path)
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert "SLIPWAY_HOSTS=evil.example" in answer.json()["detail"]


def test_under_another_name_nothing_is_decided(shop: Shop) -> None:
    first, second = shop.publish(main_py("return 1")), shop.publish(main_py("return 2"))
    known = operator_token.read_stored(shop.settings.home) or ""
    signed_in = {
        "Cookie": f"{session_cookie.COOKIE_NAME}={session_cookie.cookie_value(known)}",
        "Origin": f"http://{EVIL}",
    }
    bearer = {"Authorization": f"Bearer {known}"}
    for headers in (signed_in, signed_in | {"Sec-Fetch-Site": "same-origin"}, bearer):
        for path in (
            f"/releases/{first}/deploy",
            "/models/web-traffic/rollback",
            "/sign-in",
            "/reload-model",
        ):
            assert under(shop, EVIL, path, "POST", headers=headers).status_code == 421

    assert shop.served() == second


def test_programs_predict_under_any_name(shop: Shop) -> None:
    shop.publish(main_py())
    for path, body in PREDICTIONS.items():
        assert under(shop, "ml.internal", path, "POST", json=body).status_code == 200, path
    for path in ("/health", "/ready", "/v2/health/ready", "/v2/models/web-traffic", "/predict?x=1"):
        assert under(shop, "10.1.2.3.nip.example", path).status_code == 200, path


@pytest.mark.parametrize("sent", OF_BROWSERS)
def test_a_browser_predicts_under_its_names_alone(shop: Shop, sent: dict[str, str]) -> None:
    shop.publish(main_py())
    for path, body in PREDICTIONS.items():
        assert under(shop, EVIL, path, "POST", json=body, headers=sent).status_code == 421, path
        assert under(shop, "localhost", path, "POST", json=body, headers=sent).status_code == 200, path
    for path in ("/predict?x=1", "/v2/models/web-traffic", "/health", "/ready"):
        assert under(shop, EVIL, path, headers=sent).status_code == 421, path
        assert under(shop, "localhost", path, headers=sent).status_code == 200, path


def test_a_name_that_is_set_is_one(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_HOSTS="slipway.example.com, *.models.example").serving() as shop:
        for host in ("Slipway.Example.com:443", "one.models.example", "localhost.:1", "[::1]:8000"):
            assert under(shop, host, "/releases").status_code == 200
        assert under(shop, "models.example", "/releases").status_code == 421

        headers = {"Authorization": f"Bearer {operator_token.read_stored(shop.settings.home)}"}
        for path in ("/models/web-traffic/rollback", "/models/web-traffic/train"):
            answer = under(shop, "slipway.example.com", path, "POST", headers=headers)
            assert answer.status_code in (404, 409)


def test_a_form_passes_from_the_same_name_alone(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_HOSTS="slipway.example.com").serving() as shop:
        known = operator_token.read_stored(shop.settings.home) or ""
        signed_in = {"Cookie": f"{session_cookie.COOKIE_NAME}={session_cookie.cookie_value(known)}"}
        for host, origin, status in [
            ("slipway.example.com", "http://slipway.example.com", 404),
            ("slipway.example.com:80", "http://slipway.example.com", 404),
            ("Slipway.example.com", "http://slipway.example.com", 404),
            ("localhost:8000", "http://localhost:8000", 404),
            ("slipway.example.com", "http://localhost", 403),
            ("slipway.example.com", "http://slipway.example.com:5000", 403),
            ("slipway.example.com", "https://slipway.example.com", 403),
            ("127.0.0.1:8000", "http://127.0.0.1:5000", 403),
        ]:
            headers = signed_in | {"Origin": origin}
            answer = under(shop, host, "/releases/99/deploy", "POST", headers=headers)
            assert (answer.status_code, host, origin) == (status, host, origin)


def test_a_request_has_one_host_and_a_sound_one(shop: Shop) -> None:
    shop.publish(main_py())
    sound = f"Host: {shop.url.removeprefix('http://')}"
    for path in ("/", "/health", "/predict?x=1"):
        assert request(shop.url, path, sound) == 200
        assert request(shop.url, path) == 400
        assert request(shop.url, path, "Host:") == 400
        assert request(shop.url, path, sound, sound) == 400
        assert request(shop.url, path, sound, f"Host: {EVIL}") == 400
        assert request(shop.url, path, f"Host: {EVIL}", "host: localhost") == 400
        for wrong in ("a b", "localhost, evil.example", "user@localhost", "localhost:x", "[::1", "[evil]"):
            assert request(shop.url, path, f"Host: {wrong}") == 400, wrong


def test_an_unknown_name_is_logged_once(shop: Shop, lines: list[str]) -> None:
    for number in range(300):
        for _ in range(2):
            under(shop, f"n{number}.example", "/health")

    named = [line for line in lines if "is not a name of this appliance" in line]
    assert len(named) == len(set(named)) == 100
    assert "'n0.example'" in named[0]
    assert "SLIPWAY_HOSTS" in named[0]


def test_old_probes_that_name_no_host_are_answered(shop: Shop) -> None:
    assert request(shop.url, "/health", version="1.0") == 200
    assert request(shop.url, "/releases", version="1.0") == 400
    assert request(shop.url, "/health", "Accept-Language: de", version="1.0") == 400
