"""Behind a proxy that publishes Slipway below a path, over TLS, every address in an answer leads there."""

import html
import re
from collections.abc import Callable

import httpx
import pytest

from common.auth import operator_token
from tests.harness import plain_http
from tests.ml.serving.support import Shop, main_py

PREFIX = "/tools/slipway"
PROXY = {"Host": "localhost", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": PREFIX}
DATA = "application/json"
FORMS = "sign-out|deploy|rollback|train|evaluate|pause"  # which a GET does not answer
LINK = re.compile(r'\s(?:href|action|src|data-address|data-follow)="(/[^"]*)"')


class Proxy:
    """Passes requests on as a proxy does, by the addresses that a client of it uses."""

    def __init__(self, shop: Shop, **headers: str) -> None:
        token = operator_token.read_stored(shop.settings.home) or ""
        own = PROXY | {"Authorization": f"Bearer {token}"} | headers
        self.client = plain_http.Client(base_url=shop.url, headers=own, timeout=60)

    def get(self, path: str, kind: str = "text/html") -> httpx.Response:
        return self.request("GET", path, kind)

    def request(self, method: str, path: str, kind: str = "application/json") -> httpx.Response:
        assert path.startswith(f"{PREFIX}/")
        return self.client.request(method, path.removeprefix(PREFIX), headers={"Accept": kind})


@pytest.fixture
def proxy(shop: Shop) -> Proxy:
    """In front of a model with three releases."""
    for _ in range(3):
        shop.publish(main_py(features="features: int", more="def examples(self): return [41]"))
    return Proxy(shop)


def test_every_link_of_every_page_leads_through_the_proxy(proxy: Proxy) -> None:
    seen, waiting = set[str](), [f"{PREFIX}/"]
    while waiting:
        page = proxy.get(address := waiting.pop())
        assert page.status_code == 200, address
        links = set(LINK.findall(page.text)) - seen
        seen |= links
        assert all(link.startswith(f"{PREFIX}/") for link in links)
        forms = re.compile(
            "/(sign-out|deploy|rollback|train|evaluate|pause)$|/static/|/invocations$|[?&]token="
        )
        is_page = "text/html" in page.headers["Content-Type"]
        waiting += [html.unescape(link) for link in links if is_page and not forms.search(link)]
    assert {f"{PREFIX}/releases/3", f"{PREFIX}/docs", f"{PREFIX}/predict"} <= seen


def test_addresses_of_documents_lead_through_the_proxy(proxy: Proxy) -> None:
    for path in ("/openapi.json", "/models/web-traffic/openapi.json"):
        assert proxy.get(PREFIX + path).json()["servers"] == [{"url": PREFIX}]
    assert f"curl -X POST https://localhost{PREFIX}/predict" in proxy.get(f"{PREFIX}/docs").text

    older = proxy.get(f"{PREFIX}/releases?limit=2", DATA).json()["older"]
    assert [one["id"] for one in proxy.get(older, DATA).json()["releases"]] == [1]
    accepted = proxy.request("POST", f"{PREFIX}/releases/1/deploy")
    assert proxy.get(accepted.headers["Location"], DATA).json()["id"] == 1
    assert proxy.request("POST", f"{PREFIX}/sign-out").headers["Location"] == f"{PREFIX}/"


@pytest.mark.parametrize("prefix", ["//evil.example", "/a/../b", '/"><script>', "evil", "/a b", "/", "/docs"])
def test_a_prefix_that_is_no_path_is_not_followed(shop: Shop, prefix: str) -> None:
    proxy = Proxy(shop, **{"X-Forwarded-Prefix": prefix})
    page = proxy.client.get("/docs", headers={"Accept": "text/html"})
    assert page.status_code == 200
    expected = prefix if prefix == "/docs" else ""
    assert f'href="{expected}/releases"' in page.text


def test_a_prefix_is_believed_of_trusted_proxies_alone(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_PROXIES="none").serving() as shop:
        proxy = Proxy(shop)
        assert "servers" not in proxy.get(f"{PREFIX}/openapi.json").json()
        assert PREFIX not in proxy.get(f"{PREFIX}/docs").text
