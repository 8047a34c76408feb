"""On a phone the tables of a release are cards: no column is out of sight."""

from selenium.webdriver.common.by import By

from tests.browser.browser import Browser
from tests.ml.serving.support import Shop, differences, main_py


def test_the_gates_verdict_is_in_sight_on_a_phone(shop: Shop, browser: Browser) -> None:
    metric = "predictions differ for 34% of 200 recorded requests"
    rule = {"metric": metric, "value": 0.3, "live": 0.2, "change": 0.5, "rule": "may worsen by 5%"}
    verdict = {"rules": [rule | {"passed": True}], "note": None, "compared_with": 1, "passed": True}
    worst = [{"features": "f" * 200, "live": "1" * 90, "this": "4" * 90, "change": 3.0}]
    numbers = {"compared": 1, "changed": 1, "share": 1.0, "mean": 3.0, "largest": 3.0}
    shop.publish(main_py())
    shop.publish(main_py(), verdict=verdict, differences=differences(**numbers, worst=worst))
    shape = {"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)

    browser.open("/releases/2?beside=1")

    browser.says("Of 1 recorded request that release 1 answered, 1 gets another prediction (100%).")
    tables = browser.driver.find_elements(By.CSS_SELECTOR, ".scroll")
    assert len(tables) == 3
    for table in tables:
        hidden = browser.driver.execute_script(
            "return arguments[0].scrollWidth - arguments[0].clientWidth", table
        )
        assert (table.accessible_name, hidden) == (table.accessible_name, 0)
    assert not browser.violations()
