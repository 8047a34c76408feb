from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.browser.browser import MISSING, Browser, chromium
from tests.ml.conftest import shared_home  # noqa: F401
from tests.ml.serving.conftest import make_shop, shop, two  # noqa: F401
from tests.ml.serving.support import Shop


@pytest.fixture
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    if MISSING:
        pytest.skip(f"no {' and no '.join(MISSING)} here: apt-get install chromium chromium-driver")
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def browser(shop: Shop, driver: Chrome) -> Browser:  # noqa: F811
    return Browser(driver, shop.url)
