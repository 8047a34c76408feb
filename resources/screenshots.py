"""The screenshots in docs/, taken of a running appliance: `make screenshots`, next to `make up`.

    python -m resources.screenshots [ADDRESS [ADDRESS OF VCS]]

Needs Debian's chromium and chromium-driver, and three releases or more. The pages of several models are taken
of an appliance that is made for it.
"""

import sys
import tempfile
from pathlib import Path

from tests.browser.browser import MISSING, Browser, chromium
from tests.browser.several import several

DOCS = Path(__file__).parents[1] / "docs" / "pages"
PAGES = {
    "overview": "/",
    "predict": "/predict?num_days=30",
    "releases": "/releases",
    "release": "/releases/3?beside=1",
    "checks": "/models/encyclopedia-visits/pull-requests",
    "sign-in": "/sign-in",
}
ROOMS = '[{"kind": "kitchen", "area": 14}, {"kind": "bedroom", "area": 21.5}, {"kind": "bath", "area": 6}]'
SEVERAL = {
    "models": "/",
    "form": f"/models/rents/predict?district=south&lift=true&rooms={ROOMS}",
}
SHAPES = {"light": (1180, 900, False), "dark": (1180, 900, True), "phone": (360, 780, False)}


def main(address: str = "http://127.0.0.1:8000", vcs: str = "http://127.0.0.1:8080") -> None:
    if MISSING:
        sys.exit(f"no {' and no '.join(MISSING)} here: apt-get install chromium chromium-driver")
    DOCS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="slipway-several-", ignore_cleanup_errors=True) as folder:
        take(address, PAGES)
        take(vcs, {"pull-requests": "/pull-requests"})
        with several(Path(folder)) as made:
            take(made, SEVERAL)


def take(address: str, pages: dict[str, str]) -> None:
    """Take each page in each shape."""
    for shape, (width, height, dark) in SHAPES.items():
        with (
            tempfile.TemporaryDirectory(prefix="slipway-chromium-", ignore_cleanup_errors=True) as profile,
            chromium(Path(profile), width=width, height=height, dark=dark) as driver,
        ):
            browser = Browser(driver, address)
            for name, path in pages.items():
                browser.open(path)
                browser.shows(DOCS / f"{name}-{shape}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
