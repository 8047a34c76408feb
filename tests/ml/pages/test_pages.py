"""Pages for people, data for programs, at the same addresses."""

import re

import pytest

from tests.ml.serving.support import Shop, main_py

HTML = "text/html,application/xhtml+xml"
SERIES = "return [['2026-01-%02dT00:00:00' % (n + 1), 10.5 + n] for n in range(features)]"


@pytest.mark.parametrize(
    "path", ["/", "/predict", "/predict?num_days=7", "/releases", "/releases/1", "/docs"]
)
def test_every_page_is_whole_and_asks_no_other_host_for_anything(shop: Shop, path: str) -> None:
    shop.publish(main_py(SERIES), kind="time-series")

    page = shop.get(path, HTML)

    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.rstrip().endswith("</html>")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page.text)
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert shop.client.get(shop.url + address).status_code == 200
