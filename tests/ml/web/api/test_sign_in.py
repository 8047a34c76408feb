"""A person signs in with the token and decides by buttons; what is private shows itself to nobody else."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from common.auth import operator_token, session_cookie
from ml.settings import MlSettings
from tests.harness import plain_http
from tests.ml.serving.support import Shop, main_py

PAGE = {"Accept": "text/html"}
SITE = "Sec-Fetch-Site"
HIDDEN = ("/", "/releases", "/releases/1/logs", "/models/web-traffic", "/docs", "/metrics")


@pytest.fixture
def browser(shop: Shop) -> Iterator[httpx.Client]:
    """Says what browsers say of where a form is from."""
    headers = {**PAGE, "Origin": shop.url}
    with plain_http.Client(base_url=shop.url, headers=headers, timeout=30) as client:
        yield client


def kept(shop: Shop) -> str:
    known = operator_token.read_stored(shop.settings.home)
    assert known
    return known


def test_signing_in_gives_a_cookie_no_script_reads_and_no_token(shop: Shop, browser: httpx.Client) -> None:
    assert browser.get("/sign-in?next=/releases").text.count('value="/releases"') == 1
    wrong = browser.post("/sign-in", data={"token": "wrong", "next": "/releases"})
    assert wrong.status_code == 403
    assert "not the operators' token" in wrong.text
    assert not browser.cookies

    answer = browser.post("/sign-in", data={"token": f" {kept(shop)} ", "next": "/releases"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/releases")
    said = answer.headers["Set-Cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert kept(shop) not in answer.headers["Set-Cookie"]
    assert "Sign out" in browser.get("/releases").text


def test_the_first_link_signs_in_and_leaves_no_token_in_the_url(shop: Shop, browser: httpx.Client) -> None:
    answer = browser.get("/sign-in", params={"token": kept(shop)})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert session_cookie.COOKIE_NAME in browser.cookies


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "x", ""])
def test_signing_in_never_leads_to_another_host(shop: Shop, browser: httpx.Client, elsewhere: str) -> None:
    answer = browser.post("/sign-in", data={"token": kept(shop), "next": elsewhere})
    assert answer.headers["Location"] == "/"


def test_who_is_signed_in_is_told_so_and_how_to_leave(shop: Shop, browser: httpx.Client) -> None:
    browser.post("/sign-in", data={"token": kept(shop)})

    page = browser.get("/sign-in?next=/releases").text

    assert "You are signed in" in page
    assert 'href="/releases">Back to /releases' in page
    assert 'name="token"' not in page
    assert 'action="/sign-out" class="narrow"' in page
    assert "This is not the operators' token" in browser.post("/sign-in", data={"token": "x"}).text


def test_a_button_decides_and_shows_what_became_of_it(shop: Shop, browser: httpx.Client) -> None:
    first, second = shop.publish(main_py("return 1")), shop.publish(main_py("return 2"))
    assert "Roll back" not in browser.get(f"/releases/{second}").text
    browser.post("/sign-in", data={"token": kept(shop)})
    commit, named = shop.release(first).commit[:8], "Its SMAPE is 0.25, the live one has 0.25."
    for path in ("/", f"/releases/{second}"):
        assert f"Release {first} (commit {commit}) is live again. {named}" in browser.get(path).text

    form = {"why": "it forecasts negative visits", "release": str(second)}
    answer = browser.post("/models/web-traffic/rollback", data=form)

    assert (answer.status_code, answer.headers["Location"]) == (303, f"/releases/{first}")
    shop.until_live(first)
    assert "Roll back" not in browser.get(f"/releases/{first}").text  # there is nothing to go back to
    newest, *_ = shop.get("/models/web-traffic/deployments").json()["deployments"]
    assert newest["why"] == "it forecasts negative visits"
    late = browser.post("/models/web-traffic/rollback", data=form)
    assert late.status_code == 409
    assert "is not live any more" in late.text


@pytest.mark.parametrize(
    "sent",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_site_presses_no_button(shop: Shop, browser: httpx.Client, sent: dict[str, str]) -> None:
    first, second = shop.publish(main_py("return 1")), shop.publish(main_py("return 2"))
    browser.post("/sign-in", data={"token": kept(shop)})

    answer = browser.post(f"/releases/{first}/deploy", data={}, headers=sent)

    assert answer.status_code == 403
    assert shop.served() == second


def test_a_cookie_that_was_made_up_is_none(shop: Shop, browser: httpx.Client) -> None:
    release = shop.publish(main_py())
    for value in ("", "x", kept(shop), session_cookie.cookie_value("another token")):
        answer = browser.post(
            f"/releases/{release}/deploy", headers={"Cookie": f"{session_cookie.COOKIE_NAME}={value}"}
        )
        assert answer.status_code == 401


def test_who_signs_out_is_a_visitor_again(shop: Shop, browser: httpx.Client) -> None:
    browser.post("/sign-in", data={"token": kept(shop)})
    browser.post("/sign-out", headers={"Origin": "https://evil.example"})
    assert browser.cookies
    browser.post("/sign-out")
    assert not browser.cookies


def test_a_private_appliance_predicts_for_all_shows_to_operators(
    make_shop: Callable[..., Shop],
) -> None:
    with make_shop(SLIPWAY_PRIVATE="1").serving() as shop:
        release = shop.publish(main_py(features="features: int"))
        for path in (
            "/",
            "/releases",
            f"/releases/{release}/logs",
            "/models/web-traffic",
            "/docs",
            "/metrics",
        ):
            assert shop.get(path).status_code == 401
            page = shop.get(path, "text/html")
            assert (page.status_code, page.headers["Location"]) == (303, f"/sign-in?next={path}")
        assert shop.get("/predict?x=1", "text/html").status_code == 303
        assert shop.get("/predict?x=1").json()["prediction"] == 1
        assert shop.predict(1).json()["prediction"] == 1
        assert shop.client.post(
            f"{shop.url}/v1/models/web-traffic:predict", json={"instances": [1]}
        ).is_success
        for path in ("/health", "/ready", "/v2/health/ready", "/sign-in"):
            assert shop.get(path, "text/html" if path == "/sign-in" else "*/*").status_code == 200

        bearer = {"Authorization": f"Bearer {kept(shop)}"}
        assert plain_http.get(f"{shop.url}/releases", headers=bearer).is_success
        with plain_http.Client(base_url=shop.url, headers=PAGE, follow_redirects=True) as browser:
            answer = browser.post("/sign-in", data={"token": kept(shop), "next": "/releases"})
            assert answer.url.path == "/releases"
            assert answer.is_success


@pytest.mark.parametrize(
    ("said", "private"),
    [
        ({}, False),
        ({"SLIPWAY_BIND": "127.0.0.7"}, False),
        ({"SLIPWAY_BIND": "::1"}, False),
        ({"SLIPWAY_BIND": "0.0.0.0"}, True),
        ({"SLIPWAY_BIND": "192.168.1.5"}, True),
        ({"SLIPWAY_BIND": "0.0.0.0", "SLIPWAY_PUBLISHED": "127.0.0.1"}, False),
        ({"SLIPWAY_BIND": "0.0.0.0", "SLIPWAY_PRIVATE": "0"}, False),
        ({"SLIPWAY_PRIVATE": "1"}, True),
    ],
)
def test_beyond_loopback_an_appliance_is_private_unless_set(
    said: dict[str, str], private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"DATABASE_URL": "postgresql://nowhere", **said}.items():
        monkeypatch.setenv(name, value)
    assert MlSettings().is_private is private  # type: ignore[call-arg]
