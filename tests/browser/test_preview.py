"""What a data scientist does with a rejected release: tries it beside the live one."""

import os
from pathlib import Path

from db.states import Status
from tests.browser.browser import Browser
from tests.browser.test_every_page import LONG, is_fine_in_every_shape
from tests.browser.test_pages import BAND, HISTORY
from tests.ml.serving.support import Shop, main_py
from tests.ml.serving.test_preview import attempt, count_recorded, reject, state, stop, wait_until

PICTURES = os.environ.get("SLIPWAY_TEST_PICTURES")  # a folder; for a person to look at


def show(browser: Browser, name: str) -> None:
    if PICTURES:
        browser.shows(Path(PICTURES) / f"{name}.png")


def test_from_a_rejected_release_to_both_answers(shop: Shop, browser: Browser) -> None:
    live = shop.publish(main_py("return features * 2"), info={"Name": "Prices"})
    for features in (1, 0, 12.5):
        shop.predict(features)
    wait_until(lambda: count_recorded(shop) == 3, 30, "all are recorded")
    release = reject(shop, main_py("return features * 3"), info={"Name": "Prices"}, reason="SMAPE 0.9")

    browser.open(f"/releases/{release}")
    browser.click("Try it")
    browser.find("[name=features]").send_keys("7")
    browser.click("Predict", "form.ask")

    browser.says("Recorded requests, before and after")
    assert browser.find("#answer .result").text == "21"
    assert browser.find("#live .result").text == "14"
    browser.says(f"Live now: release {live}")
    browser.says("Of the 3 newest recorded requests, 2 get another prediction.")
    assert browser.find("nav [aria-current]").text == "Releases"
    assert not browser.violations()
    show(browser, "preview")
    browser.click("Stop the preview")
    browser.says("It was stopped by a person.")
    browser.click("Start again")
    browser.find("[name=features]")


def test_a_series_is_drawn_over_the_live_one(shop: Shop, browser: Browser) -> None:
    head = "import datetime, math"
    shop.publish(main_py(BAND, head=head), kind="time-series", known=HISTORY)
    release = reject(shop, main_py(BAND, head=head + "\n"), kind="time-series", known=HISTORY)
    assert attempt(shop, release, 3).status_code == 200
    browser.open(f"/releases/{release}/predict?num_days=12")
    browser.find("#chart canvas")
    browser.says("This release")
    show(browser, "preview-series")
    is_fine_in_every_shape(browser, [f"/releases/{release}/predict?num_days=12"])


def test_pages_of_previews_in_every_shape(shop: Shop, browser: Browser) -> None:
    shop.publish(main_py("return {'cat': 0.25, 'dog': 0.75}"), kind="classification")
    shop.predict(LONG)
    wait_until(lambda: count_recorded(shop) == 1, 30, "it is recorded")
    release = reject(shop, main_py("return [features, features]"), info={"Name": LONG})
    broken = reject(shop, f"print({LONG!r})\nraise ValueError({LONG!r})")
    assert attempt(shop, release, 1).status_code == 200
    assert attempt(shop, broken, 1).status_code == 500
    paths = [f"/releases/{release}/predict", f"/releases/{release}/predict?x={LONG}"]
    is_fine_in_every_shape(browser, [*paths, f"/releases/{broken}/predict"])
    show(browser, "preview-broken")
    stop(shop, release)
    is_fine_in_every_shape(browser, [f"/releases/{release}/predict", "/releases/99/predict"])
    slow = reject(shop, "import time\ntime.sleep(90)\n" + main_py())
    browser.open(f"/releases/{slow}/predict")
    browser.click("Start the preview")
    browser.says("Now: loading the model")
    is_fine_in_every_shape(browser, [f"/releases/{slow}/predict"])
    assert state(shop, slow)["state"] == "starting"
    browser.click("Stop the preview")
    browser.says("It was stopped by a person.")
    assert shop.release(slow).status is Status.REJECTED
