"""Every page in every shape: no violation of axe-core, a gutter on both sides, no sideways scroll."""

from datetime import UTC, datetime
from pathlib import Path

from selenium.webdriver import Chrome
from sqlalchemy.orm import Session, sessionmaker

from db.models import Stage
from db.states import StageOutcome, Status
from db.vcs_models import PullRequest
from ml.paths import HomeLayout
from tests.browser.browser import Browser
from tests.browser.test_pages import BAND, HISTORY, TARGET
from tests.browser.test_story import HOUSE, a_release
from tests.ml.serving.support import Shop, differences, main_py
from tests.vcs.conftest import listening
from vcs.settings import VcsSettings

LONG = "a_word_that_no_line_can_be_broken_in_" * 9
SHAPES = ((360, 1), (640, 1), (768, 1), (1280, 1), (640, 2))  # width and scale; the last: 1280 at 200 %
GUTTER = 12  # pixels
SIDES = """
return [...document.querySelectorAll(".container:not([hidden]) > *")].filter((one) => one.checkVisibility())
    .map((one) => one.getBoundingClientRect()).filter((box) => box.width > 1)
    .map((box) => Math.min(box.left, document.documentElement.clientWidth - box.right))
"""


def is_fine_in_every_shape(browser: Browser, paths: list[str]) -> None:
    wrong = []
    for path in paths:
        browser.open(path)
        for width, scale in SHAPES:
            shape = {"width": width, "height": 800, "deviceScaleFactor": scale, "mobile": False}
            browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
            sides = browser.driver.execute_script(SIDES)
            size = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            whole, seen = browser.driver.execute_script(size)
            wrong += [(path, shape, "scrolls sideways", whole)] if whole > seen else []
            wrong += [(path, shape, "gutter", min(sides))] if min(sides) < GUTTER else []
            for theme in ("light", "dark"):
                media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
                browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
                browser.driver.execute_script("document.getAnimations().forEach((one) => one.finish())")
                rules = () if theme == "light" else ("color-contrast", "link-in-text-block")
                wrong += [(path, shape, theme, said) for said in browser.violations(*rules)]
    assert not wrong, "\n".join(map(str, wrong))


def test_releases_of_every_state(shop: Shop, browser: Browser) -> None:
    rule = {"metric": LONG[:100], "value": 0.3, "live": 0.2, "change": 0.5, "rule": "at most 9"}
    verdict = {"rules": [rule | {"passed": True}], "note": LONG, "compared_with": 1, "passed": True}
    worst = [{"features": LONG, "live": "1", "this": "4", "change": 3.0}]
    numbers = {"compared": 4, "changed": 2, "share": 0.5, "mean": 0.75, "largest": 3.0}
    shop.publish(main_py(), title=LONG)
    shop.publish(main_py(), verdict=verdict, differences=differences(**numbers, worst=worst))
    broken = shop.publish("1 / 0", wait=False)
    shop.until(broken, "failed")
    ended = (Status.QUEUED, Status.BUILDING, Status.PASSED, Status.REJECTED, Status.FAILED)
    for number, status in enumerate((*ended, Status.SUPERSEDED, Status.CANCELLED)):
        a_release(shop, status, str(number) * 40, reason=LONG, metrics={"SMAPE": 0.1}, hold=LONG)
    with shop.sessions.begin() as session:
        session.add(Stage(release_id=5, name="checkout", outcome=StageOutcome.DONE))
        session.add(Stage(release_id=5, name="train"))
    log = HomeLayout(shop.settings.home).log_path(5, "train")
    log.parent.mkdir(parents=True)
    log.write_text(LONG)

    is_fine_in_every_shape(browser, ["/", "/releases", *(f"/releases/{number}" for number in range(1, 11))])


def test_predictions_of_every_kind(shop: Shop, browser: Browser) -> None:
    shop.publish(main_py(BAND, head="import datetime, math"), kind="time-series", known=HISTORY)
    is_fine_in_every_shape(browser, ["/predict?num_days=40"])
    shop.publish(main_py("return {'cat': 0.25, 'dog': 0.75}"), kind="classification")
    is_fine_in_every_shape(browser, ["/predict?x=1"])
    shop.publish(main_py("return features * 2"), kind="regression", known=TARGET, info={"Name": LONG})
    is_fine_in_every_shape(browser, ["/predict?x=16", "/predict?x=wrong"])
    more = "def examples(self): return [{'area': 1, 'kind': 'flat', 'place': {'city': 'Ulm', 'floor': 1}}]"
    shop.publish(main_py("return [features.area]", head=HOUSE, features="features: House", more=more))
    is_fine_in_every_shape(browser, ["/predict", "/predict?area=x&kind=y"])


def test_pages_before_the_first_release_is_live(shop: Shop, browser: Browser) -> None:
    is_fine_in_every_shape(browser, ["/", "/predict"])
    building = a_release(shop, Status.BUILDING, title=LONG)
    with shop.sessions.begin() as session:
        session.add(Stage(release_id=building, name="train"))
    is_fine_in_every_shape(browser, ["/", "/predict"])
    browser.says("is being built")
    shop.publish(main_py("return features * 2"))
    browser.find("[name=features]")  # the page has become the form


def test_pages_that_belong_to_no_release(shop: Shop, browser: Browser) -> None:
    shop.publish(main_py())
    paths = ["/predict", "/releases/77", "/releases/x", "/docs", "/sign-in", "/nowhere"]
    is_fine_in_every_shape(browser, paths)


def test_pages_of_several_models(two: Shop, driver: Chrome) -> None:
    is_fine_in_every_shape(Browser(driver, two.url), ["/", "/predict", "/models/other", "/models/nobody"])


def test_pages_of_vcs(
    sessions: sessionmaker[Session], database_url: str, driver: Chrome, tmp_path: Path
) -> None:
    told = {"SLIPWAY_REPOSITORY": "acme/web-traffic", "database_url": database_url, "SLIPWAY_SYNC_SECONDS": 0}
    facts = {"repository": "acme/web-traffic", "base_ref": "main", "merge_commit_sha": "1" * 40}
    with sessions.begin() as session:
        merged = datetime(2026, 1, 1, tzinfo=UTC)
        session.add(PullRequest(id=1, number=1, title=LONG, user_login=LONG, merged_at=merged, **facts))
    with listening(VcsSettings(**told, SLIPWAY_HOME=tmp_path), sessions) as client:
        browser = Browser(driver, str(client.base_url).rstrip("/"))
        is_fine_in_every_shape(browser, ["/pull-requests", "/pull-requests?state=open", "/nowhere"])
