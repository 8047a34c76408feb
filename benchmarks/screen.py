"""The delay until a line of a log, and the next stage, are on the page of the release in a browser."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from selenium.webdriver.common.by import By

from db.states import Status
from tests.browser.browser import MISSING, Browser, chromium
from tests.browser.several import serving
from tests.browser.test_story import a_release, begin

ROUNDS, BAR = 30, 1.0


def main() -> bool:
    if MISSING:
        print(f"  not measured: no {' and no '.join(MISSING)} here")
        return True
    with (
        tempfile.TemporaryDirectory(prefix="slipway-bench-", ignore_cleanup_errors=True) as folder,
        serving(Path(folder)) as shop,
        chromium(Path(folder) / "chromium") as driver,
    ):
        browser = Browser(driver, shop.url)
        release = a_release(shop, Status.BUILDING)
        browser.open(f"/releases/{release}")
        _, log = begin(shop, release, "stage 0")

        def line(number: int) -> Callable[[], bool]:
            print(f"line {number}.", file=log, flush=True)
            return lambda: (
                f"line {number}." in str(driver.find_element(By.ID, "logs").get_attribute("textContent"))
            )

        def stage(number: int) -> Callable[[], bool]:
            begin(shop, release, f"stage {number + 1}")
            return lambda: f"stage {number + 1}" in driver.find_element(By.CSS_SELECTOR, "ol.stages").text

        browser.until(line(-1), "the first line")
        found = {"a line of the log": took(line), "a stage": took(stage)}
    for what, seconds in found.items():
        print(f"  {what}: median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s")
    return all(statistics.quantiles(seconds, n=20)[-1] <= BAR for seconds in found.values())


def took(happen: Callable[[int], Callable[[], bool]]) -> list[float]:
    found = []
    for number in range(ROUNDS):
        time.sleep(0.037 * (number % 17))  # at any moment of the page's poll interval
        seen, began = happen(number), time.perf_counter()
        while not safely(seen) and time.perf_counter() - began < 10 * BAR:
            time.sleep(0.005)
        found.append(time.perf_counter() - began)
    return found


def safely(seen: Callable[[], bool]) -> bool:
    try:
        return seen()
    except Exception:  # noqa: BLE001 (the page has just changed while it was read)
        return False
