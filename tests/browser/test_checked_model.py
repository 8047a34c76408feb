"""The page of `slipway check --serve`: whole without an appliance, and for everyone to read."""

from pathlib import Path

from selenium.webdriver import Chrome

from tests.browser.browser import Browser
from tests.browser.test_every_page import is_fine_in_every_shape
from tests.cli.check.conftest import home, sevens, variables  # noqa: F401
from tests.cli.check.test_serve import end, read_until, started


def test_a_checked_model_is_tried(variables: dict[str, str], sevens: Path, driver: Chrome) -> None:  # noqa: F811
    with started(variables, sevens, "--serve") as process:
        browser = Browser(driver, read_until(process, r"http://127\.0\.0\.1:\d+(?=/predict;)")[0])
        browser.open("/")
        browser.find("input").send_keys("6")
        browser.click("Predict", within="form")
        browser.says('"seven"')
        browser.click("API")
        browser.says("A prediction of sevens")
        is_fine_in_every_shape(
            browser, ["/predict", "/predict?features=6", "/predict?features=x", "/nowhere"]
        )
        assert end(process) == 0
