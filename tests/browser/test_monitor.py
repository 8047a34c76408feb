"""The monitor's page in a browser: drawn by the server, read without a script, whole on a phone."""

from datetime import UTC, datetime

import pytest
from selenium.webdriver.common.by import By

from db.monitor_models import MonitorState
from tests.browser.browser import Browser
from tests.browser.test_every_page import LONG, is_fine_in_every_shape
from tests.browser.test_story import sign_in
from tests.harness import monitored
from tests.harness.monitored import add_drift, add_quality, interval
from tests.ml.serving.support import Shop, main_py
from tests.ml.web.pages.test_monitor import COLUMN, HOSTILE

PAGE = "/models/web-traffic/monitor"
OVERLAPS = """
return [...document.querySelectorAll("svg[role=img]")].filter((svg) => {
    const box = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("text")].some((text) => {
        const inner = text.getBoundingClientRect();
        return inner.left < box.left - 12 || inner.right > box.right + 12;
    });
}).map((svg) => svg.outerHTML.slice(0, 200))
"""


@pytest.fixture
def filled(shop: Shop) -> Shop:
    before, live = shop.publish(main_py()), shop.publish(main_py("return 2"))
    monitored.fill(shop.sessions, shop.model, before, live)
    return shop


def test_a_monitored_model_in_every_shape(filled: Shop, browser: Browser) -> None:
    is_fine_in_every_shape(browser, [PAGE, "/"])
    browser.open(PAGE)
    browser.driver.execute_script("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert not browser.violations()
    assert not browser.driver.execute_script(OVERLAPS)
    assert not [one for one in browser.driver.get_log("browser") if one["level"] == "SEVERE"]


def test_every_chart_has_axes_and_a_table(filled: Shop, browser: Browser) -> None:
    browser.open(PAGE)
    figures = browser.driver.find_elements(By.CSS_SELECTOR, "figure.plot")
    assert len(figures) >= 14
    for figure in figures:
        [chart] = figure.find_elements(By.CSS_SELECTOR, "svg")
        assert chart.get_attribute("aria-label")
        assert chart.find_elements(By.CSS_SELECTOR, "text.tick")
        assert figure.find_elements(By.CSS_SELECTOR, "table caption")
        is_bars = bool(chart.find_elements(By.CSS_SELECTOR, "text.name"))
        assert is_bars or chart.find_element(By.CSS_SELECTOR, "text.title").text


def test_an_opened_table_stays_open_and_the_address_holds(filled: Shop, browser: Browser) -> None:
    browser.open(PAGE)
    browser.find("#column-1 summary").click()
    browser.click("of a month")
    browser.until(lambda: "window=month" in browser.driver.current_url, "the address")
    browser.says("SMAPE of a month, in the last 24 hours")
    assert browser.find("#column-1").get_attribute("open")
    browser.click("30 days")
    browser.says("SMAPE of a month, in the last 30 days")
    browser.find("#requests canvas")
    assert browser.driver.current_url.endswith("?hours=720&window=month")
    assert not browser.violations()


def test_a_suggestion_is_started_from_the_page(filled: Shop, browser: Browser) -> None:
    sign_in(filled, browser)
    browser.open(PAGE)
    browser.says("Retraining is suggested (drift)")
    browser.click("Retrain")
    browser.click("Retrain", "details[open] form")
    browser.says("started by operator")


def test_without_a_script_all_charts_are_there(filled: Shop, browser: Browser) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(PAGE)
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "figure.plot svg")) >= 14
    browser.click("of a day")
    browser.says("SMAPE of a day, in the last 24 hours")


def test_nothing_measured_and_hostile_names_fit_a_phone(shop: Shop, browser: Browser) -> None:
    live = shop.publish(main_py())
    is_fine_in_every_shape(browser, [PAGE])
    names = (*HOSTILE, LONG)
    findings = []
    for name in names:
        distribution = COLUMN["distribution"] | {"labels": [name, "b"]}
        findings.append(COLUMN | {"name": name, "reason": name, "distribution": distribution})
    add_drift(shop.sessions, shop.model, live, findings=findings, status="drift", reason=LONG)
    metrics = {name: interval(1.0, 0.1) for name in names} | {"none": {"value": None, "reason": LONG}}
    add_quality(shop.sessions, shop.model, live, metrics, status="decay", reason=LONG)
    with shop.sessions.begin() as session:
        state = {"decay_since": datetime.now(UTC), "decay_reason": LONG, "problem": LONG}
        session.add(MonitorState(model=shop.model, release_id=live, suspicion={}, **state))
    is_fine_in_every_shape(browser, [PAGE, "/"])
    assert not browser.driver.execute_script(OVERLAPS)
