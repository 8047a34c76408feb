"""Who may try a release: no page of another site, no name of somebody else, nobody from elsewhere."""

from collections.abc import Callable

import pytest

from tests.ml.serving.support import Shop
from tests.ml.serving.test_preview import HTML, OPERATOR, THRICE, attempt, form_headers, reject, workers
from tests.ml.serving.test_preview_checks import make_small, small

__all__ = ["make_small", "small"]  # fixtures
IMAGE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
FRAME = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
SCRIPT = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
OTHER_PORT = {**IMAGE, "Sec-Fetch-Site": "same-site"}


@pytest.mark.parametrize("headers", [IMAGE, FRAME, SCRIPT, OTHER_PORT, {"Origin": "null"}])
def test_page_of_another_site_starts_and_asks_nothing(small: Shop, headers: dict[str, str]) -> None:
    release = reject(small, THRICE)
    address = f"{small.url}/releases/{release}/predict"
    for query in ("", "?x=1"):
        for accept in ({}, HTML):
            assert small.client.get(address + query, headers=headers | accept).status_code == 403
    for path in ("", "/stop"):
        for more in ({}, form_headers(small)):
            assert small.client.post(address + path, headers=more | headers).status_code == 403
    assert workers(small) == []


def test_a_link_on_another_site_starts_no_preview(small: Shop) -> None:
    release = reject(small, THRICE)
    page = small.client.get(f"{small.url}/releases/{release}/predict?x=1", headers=HTML | LINK)
    assert (page.status_code, "Start the preview" in page.text) == (200, True)
    typed = small.client.get(
        f"{small.url}/releases/{release}/predict", headers=LINK | {"Sec-Fetch-Site": "none"}
    )
    assert typed.status_code == 200
    assert workers(small) == []


@pytest.mark.parametrize("browser", [{}, {"Sec-Fetch-Site": "same-origin"}, HTML])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "a b", "localhost@evil.example"])
def test_name_of_somebody_else_reaches_nothing(small: Shop, host: str, browser: dict[str, str]) -> None:
    release = reject(small, THRICE)
    headers = {"Host": host, **browser}
    address = f"{small.url}/releases/{release}/predict"
    for path in ("", "/stop"):
        answers = [small.client.post(address + path, json=1, headers=headers)]
        answers.append(small.client.get(address, headers=headers))
        for answer in answers:
            assert answer.status_code in (400, 421), answer.text
    assert workers(small) == []


def test_private_appliance_wants_the_token_on_loopback_too(make_small: Callable[..., Shop]) -> None:
    with make_small(SLIPWAY_PRIVATE="1", SLIPWAY_TOKEN="a-token-of-our-own").serving() as shop:
        release = reject(shop, THRICE)
        assert attempt(shop, release, 1).status_code == 401
        assert shop.get(f"/releases/{release}/predict").status_code == 401
        assert workers(shop) == []
        assert attempt(shop, release, 1, headers=OPERATOR).json()["prediction"] == 3
