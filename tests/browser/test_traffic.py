"""The charts of a model's requests: drawn, followed, told in a table, and nothing lost without a script."""

from selenium.webdriver.common.by import By
from sqlalchemy import func, update

from db.models import Deployment
from tests.browser.browser import Browser
from tests.browser.test_pages import is_fine
from tests.ml.serving.support import Shop
from tests.ml.serving.test_traffic import FAILS_AT_0, add, counts, timedelta

CHARTS = ("#requests canvas", "#latency canvas")


def table(browser: Browser) -> list[str]:
    """What the open table says, newest first, without the times."""
    rows = browser.driver.find_elements(By.CSS_SELECTOR, "#traffic details tbody tr")
    return [row.text.split(maxsplit=1)[1] for row in rows]


def some_traffic(shop: Shop) -> None:
    """Two releases, requests of half an hour ago that one of took over, and of yesterday."""
    for change in range(2):
        shop.publish(f"{FAILS_AT_0}\n# {change}\n")
    with shop.sessions.begin() as session:
        ago = func.now() - timedelta(minutes=20)
        session.execute(update(Deployment).where(Deployment.release_id == 1).values(live_at=ago))
    add(shop.sessions, shop.model, timedelta(minutes=30), counts(1000, failed=1))
    add(shop.sessions, shop.model, timedelta(hours=20), counts(2000))


def test_requests_of_the_last_hour_and_day_are_drawn_and_told(shop: Shop, browser: Browser) -> None:
    some_traffic(shop)
    browser.open("/")
    for chart in CHARTS:
        browser.find(chart)
    browser.says("1,000 requests in the last hour, 1 failed, half of them within 4 ms")
    browser.says("Release 2 went live just now, release 1 went live 20 minutes ago: the dashed lines")
    legend = browser.driver.find_elements(By.CSS_SELECTOR, ".traffic .u-legend th")
    words = ["From", "Requests", "Failed", "From", "p50", "p99"]
    assert [word.text.rstrip(":") for word in legend] == words
    browser.click("as a table", "#traffic")
    browser.until(lambda: table(browser) == ["1,000 1 4 5"], "table")
    is_fine(browser)

    browser.click("as a table", "#traffic")
    browser.click("24 hours")
    browser.says("3,000 requests in the last 24 hours, 1 failed")
    assert browser.driver.current_url.endswith("/?hours=24")
    assert browser.find("#traffic details").get_attribute("open")
    for chart in CHARTS:
        browser.find(chart)
    shop.predict(0)
    browser.says("3,001 requests in the last 24 hours, 2 failed")  # the page has looked again by itself
    browser.until(lambda: table(browser)[1:] == ["1,000 1 4 5", "2,000 0 4 5"], "table")
    assert browser.find("#traffic details").get_attribute("open")
    assert browser.driver.switch_to.active_element.text == "24 hours"
    is_fine(browser)
    assert not [one for one in browser.driver.get_log("browser") if one["level"] == "SEVERE"]


def test_charts_fit_a_phone(shop: Shop, browser: Browser) -> None:
    some_traffic(shop)
    shape = {"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
    browser.open("/?hours=24")
    for chart in CHARTS:
        browser.find(chart)
    browser.click("as a table", "#traffic")
    assert browser.driver.execute_script("return document.documentElement.scrollWidth") == 360
    is_fine(browser)


def test_without_a_script_there_is_the_table(shop: Shop, browser: Browser) -> None:
    some_traffic(shop)
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open("/")
    browser.click("24 hours")
    browser.says("3,000 requests in the last 24 hours, 1 failed")
    assert not browser.find("#requests").is_displayed()
    browser.click("as a table", "#traffic")
    browser.says("From (UTC)")
    browser.until(lambda: table(browser) == ["1,000 1 4 5", "2,000 0 4 5"], "table")


def test_the_first_release_brings_charts_to_the_page_that_waited(shop: Shop, browser: Browser) -> None:
    browser.open("/")
    browser.says("Waiting for the first merge")
    shop.publish(FAILS_AT_0)
    browser.says("There were no requests in the last hour.")
    shop.predict(1)
    browser.find("#latency canvas")
    assert not browser.violations()
