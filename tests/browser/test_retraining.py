"""What is due of a model's retraining, in a browser; an operator pauses it, and starts what is suggested."""

from datetime import UTC, datetime
from typing import Any

from selenium.webdriver.common.by import By

from db import retrainings
from db.models import Release
from db.retraining_models import Retraining, RetrainingPlan
from db.retrainings import Occasion
from db.states import RetrainingState, Status, Trigger
from tests.browser.browser import Browser
from tests.browser.test_every_page import LONG, is_fine_in_every_shape
from tests.browser.test_story import sign_in
from tests.ml.serving.support import Shop, main_py

PAGE = "/models/web-traffic/retraining"
BOTH = {"schedule": "0 3 * * 1", "on_data": True, "timezone": "Europe/Berlin", "warm_start": True}


def record(shop: Shop, live: int, state: RetrainingState, trigger: Trigger, **facts: Any) -> None:
    with shop.sessions.begin() as session:
        count = len(retrainings.list_retrainings(session, shop.model))
        session.add(
            Retraining(
                model=shop.model,
                trigger=trigger,
                occasion=str(count),
                state=state,
                commit="a" * 40,
                live_release=live,
                **{"reason": "the schedule 0 3 * * 1 (UTC) was due at 2026-11-23 03:00 UTC", **facts},
            )
        )


def test_retrainings_of_every_state(shop: Shop, browser: Browser) -> None:
    live = shop.publish(main_py())
    is_fine_in_every_shape(browser, [PAGE])  # nothing is set
    browser.open(PAGE)
    browser.says("Nothing is set")
    shop.publish(main_py("return 3"), retrain={"drift": "suggest", "decay": "suggest"})
    browser.open(PAGE)
    browser.says("Nothing begins on its own: drift and decay suggest a retraining")
    live = shop.publish(main_py("return 2"), retrain=BOTH)
    with shop.sessions.begin() as session:
        session.add(
            RetrainingPlan(
                model=shop.model,
                next_at=datetime(2026, 12, 7, 2, tzinfo=UTC),
                waits=LONG,
                data_problem=LONG,
                data_checked_at=datetime.now(UTC),
            )
        )
        made = Release(model=shop.model, repository="acme/web-traffic", commit="a" * 40)
        made.status, made.reason, made.trigger = Status.REJECTED, LONG, Trigger.DATA
        session.add(made)
    record(shop, live, RetrainingState.STARTED, Trigger.DATA, release_id=made.id, reason=LONG)
    record(shop, live, RetrainingState.UNCHANGED, Trigger.SCHEDULE, outcome="no release was made")
    record(shop, live, RetrainingState.SUPERSEDED, Trigger.SCHEDULE, outcome=LONG, requested_by=LONG)
    record(shop, live, RetrainingState.WAITING, Trigger.DRIFT)
    record(shop, live, RetrainingState.SUGGESTED, Trigger.DECAY, reason="\u202e" + LONG)

    is_fine_in_every_shape(browser, ["/", PAGE])
    browser.open(PAGE)
    browser.says("2026-12-07 02:00:00 UTC")
    browser.says("unchanged")
    sign_in(shop, browser)
    is_fine_in_every_shape(browser, ["/", PAGE])
    browser.open(PAGE)
    browser.driver.execute_script("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert not browser.violations()


def test_a_suggestion_is_started_and_retraining_paused(shop: Shop, browser: Browser) -> None:
    shop.publish(main_py(), retrain=BOTH)
    with shop.sessions.begin() as session:
        made = retrainings.suggest(session, shop.model, Occasion(Trigger.DRIFT, "7", "the ages have moved"))
        assert made is not None
    browser.open("/")
    browser.says("Retraining is suggested (drift): the ages have moved")
    assert not browser.driver.find_elements(By.CSS_SELECTOR, ".decide")
    sign_in(shop, browser)
    browser.open("/")
    browser.click("Retrain")
    assert not browser.violations()
    browser.click("Retrain", "details[open] form")
    browser.says("started by operator")
    assert browser.driver.current_url.endswith(PAGE)

    browser.click("Pause")
    browser.find("details[open] input[name=why]").send_keys("repairs")
    browser.click("Pause", "details[open] form")
    browser.says("Paused by operator")
    assert not browser.violations()
    browser.open("/")
    browser.says("Retraining is paused by operator")
    browser.open(PAGE)
    browser.click("Resume")
    browser.click("Resume", "details[open] form")
    browser.until(lambda: "Paused by" not in browser.text(), "it goes on")
    assert not browser.violations()
