"""Takes the screenshots in docs/ of a running appliance: `make screenshots`, beside `make up`.

    python -m resources.screenshots [ADDRESS]

Needs Debian's chromium and chromium-driver, and two releases or more.
"""

import sys
import tempfile
from pathlib import Path

from tests.browser.browser import MISSING, Browser, chromium

DOCS = Path(__file__).parents[1] / "docs" / "pages"
PAGES = {
    "overview": "/",
    "predict": "/predict?num_days=30",
    "releases": "/releases",
    "release": "/releases/2?beside=1",
    "sign-in": "/sign-in",
}
SHAPES = {"light": (1180, 900, False), "dark": (1180, 900, True), "phone": (360, 780, False)}


def main(address: str = "http://127.0.0.1:8000") -> None:
    if MISSING:
        sys.exit(f"no {' and no '.join(MISSING)} here: apt-get install chromium chromium-driver")
    DOCS.mkdir(exist_ok=True)
    for shape, (width, height, dark) in SHAPES.items():
        with (
            tempfile.TemporaryDirectory(prefix="slipway-chromium-", ignore_cleanup_errors=True) as profile,
            chromium(Path(profile), width=width, height=height, dark=dark) as driver,
        ):
            browser = Browser(driver, address)
            for name, path in PAGES.items():
                browser.open(path)
                browser.shows(DOCS / f"{name}-{shape}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
