"""Headless Chromium, as a person at the pages."""

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

AXE = Path(__file__).parent / "axe" / "axe.min.js"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--lang=en",
)
MISSING = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


class Browser:
    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def until(self, seen: Callable[[], Any], what: str) -> Any:
        """Waits for a while; what the page says is in the error."""

        def look(_: Chrome) -> Any:
            return seen()

        waits = WebDriverWait(self.driver, 20, 0.05, ignored_exceptions=[Exception])
        try:
            return waits.until(look)
        except TimeoutException as error:
            said = f"no {what} on {self.driver.current_url}: {self.text()[:1500]}"
            raise AssertionError(said) from error

    def text(self) -> str:
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def says(self, words: str) -> None:
        self.until(lambda: words in self.text(), repr(words))

    def find(self, css: str) -> WebElement:
        found: WebElement = self.until(lambda: self.driver.find_element(By.CSS_SELECTOR, css), css)
        return found

    def click(self, words: str, within: str = "body") -> None:
        """A link, a button or a summary by its words."""
        kinds = "self::a or self::button or self::summary"
        path = f".//*[{kinds}][normalize-space()='{words}']"

        def press() -> bool:  # again where the page has changed between the look and the click
            self.driver.find_element(By.CSS_SELECTOR, within).find_element(By.XPATH, path).click()
            return True

        self.until(press, repr(words))

    def violations(self, *rules: str) -> list[str]:
        """What axe-core finds wrong with the page: by these rules alone, where any are named."""
        if not self.driver.execute_script("return 'axe' in window"):
            self.driver.execute_script(AXE.read_text())
        chosen = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
        found = self.driver.execute_async_script("axe.run(arguments[0]).then(arguments[1])", chosen)
        return [
            f"{one['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
            for one in found["violations"]
            for node in one["nodes"]
        ]

    def shows(self, path: Path) -> None:
        """The page as it is seen, to a file; no more of it than two screens."""
        width, height, most = self.driver.execute_script(
            "return [innerWidth, document.documentElement.scrollHeight, 2 * innerHeight]"
        )
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, most), "scale": 1}
        asked = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", asked)
        path.write_bytes(base64.b64decode(taken["data"]))

    def weight(self) -> int:
        """Bytes over the wire of this page with all that it asked for, as if for the first time."""
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
        self.driver.refresh()
        script = """return [...performance.getEntriesByType('navigation'),
            ...performance.getEntriesByType('resource')].map((e) => [e.name, e.transferSize])"""
        asked = self.driver.execute_script(script)
        assert all(name.startswith((self.url, "data:")) for name, _ in asked), asked
        return int(sum(size for _, size in asked))


@contextmanager
def chromium(profile: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Chrome]:
    """Raises what selenium raises when there is none; `MISSING` says it beforehand."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    driver = Chrome(options, Service(str(shutil.which("chromedriver"))))
    try:
        shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme})
        yield driver
    finally:
        driver.quit()
