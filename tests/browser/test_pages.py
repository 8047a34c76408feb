"""The pages that the story does not come by, with all that they can show: light, and without a violation."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from sqlalchemy.orm import Session, sessionmaker

from db.models import Release, Stage
from db.states import Status
from db.vcs_models import PullRequest
from tests.browser.browser import Browser
from tests.browser.test_story import LIMIT, PAGES, a_release
from tests.ml.serving.support import Shop, apart, differences, main_py
from tests.vcs.conftest import listening
from vcs.settings import VcsSettings

BAND = """
day = lambda n: (datetime.date(2026, 1, 4) + datetime.timedelta(n)).isoformat()
return [[day(n), math.sqrt(n), math.sqrt(n) - 1 / 3, math.sqrt(n) + 1 / 7] for n in range(features)]
"""
HISTORY = {"history": [[f"2026-01-0{day}", day] for day in (1, 2, 3)]}
TARGET = {"target": {"column": "price", "min": 10, "median": 20, "max": 30}}


def is_fine(browser: Browser) -> None:
    assert not browser.violations()
    assert browser.weight() < LIMIT


def test_an_answer_is_shown_by_the_kind_of_model(shop: Shop, browser: Browser) -> None:
    shop.publish(main_py(BAND, head="import datetime, math"), kind="time-series", known=HISTORY)
    browser.open("/predict?num_days=5")
    browser.find("#chart canvas")
    legend = [one.text for one in browser.driver.find_elements(By.CSS_SELECTOR, "#chart .u-legend th")]
    assert [word.rstrip(":") for word in legend] == ["When", "Known", "Prediction", "Low", "High"]
    values = [one.text for one in browser.driver.find_elements(By.CSS_SELECTOR, "#chart .u-legend td")]
    assert values == ["Jan 8", "–", "2", "1.66667", "2.14286"]
    assert browser.find("#forecast tbody tr:last-child").text == "Thu 2026-01-08 2 1.66667 2.14286"
    browser.click("The 3 known values before it")
    assert browser.find("#known tbody tr:last-child").text == "Sat 2026-01-03 3"
    is_fine(browser)
    browser.open("/predict?num_days=9999")
    browser.says("The other 9,599 are in the CSV.")
    is_fine(browser)

    shop.publish(main_py("return {'cat': 0.25, 'dog': 0.75}"), kind="classification")
    browser.open("/predict?x=1")
    assert browser.find(".result").text == "dog"
    shares = browser.driver.find_elements(By.CSS_SELECTOR, ".shares tbody tr")
    assert [row.text for row in shares] == ["dog 75.0 %", "cat 25.0 %"]
    is_fine(browser)

    shop.publish(main_py("return features * 2"), kind="regression", known=TARGET)
    browser.open("/predict?x=16")
    browser.says("Above all that it was trained on: price went from 10 to 30")
    is_fine(browser)


@pytest.mark.parametrize("answer", ["word", "{'sold': word, 'probability': 0.5}", "{'probability': 0.5}"])
def test_a_dict_prediction_is_judged_by_the_part_named_as_target(
    answer: str, shop: Shop, browser: Browser, tmp_path: Path
) -> None:
    predict = f"word = 'yes' if features['area'] > 10 else 'no'\nreturn {answer}"
    info = {"Name": "Houses", "Target": "sold"}
    head = "from typing import TypedDict\n\nclass House(TypedDict):\n    city: str\n    area: float\n"
    shop.publish(main_py(predict, head=head, features="features: House"), info=info, kind="classification")
    file = tmp_path / "houses.csv"
    file.write_text("city,area,sold\nUlm,2,no\nBonn,50,yes\nBonn,5,yes\n")
    browser.open("/predict")
    browser.find("#file").send_keys(str(file))
    if "sold" in answer or answer == "word":
        browser.says("Accuracy 66.7 %: 2 of 3 rows with sold are right.")
    else:  # nothing in it says which part is meant
        browser.until(
            lambda: len(browser.driver.find_elements(By.CSS_SELECTOR, "#answers tbody tr")) == 3, "rows"
        )
        assert "Accuracy" not in browser.find("main").text


def test_a_csv_with_the_target_is_judged_without_it(shop: Shop, browser: Browser, tmp_path: Path) -> None:
    head = "from dataclasses import dataclass\n\n@dataclass\nclass House:\n    city: str\n    area: float\n"
    info = {"Name": "Houses", "Target": "sold"}
    predict = "return 'yes' if features.area > 10 else 'no'"
    shop.publish(main_py(predict, head=head, features="features: House"), info=info, kind="classification")
    file = tmp_path / "houses.csv"
    file.write_text("id,city,area,sold\n1,Ulm,2,no\n2,Bonn,50,yes\n3,Bonn,5,yes\n4,Bonn,5,\n")
    browser.open("/predict")
    browser.find("#file").send_keys(str(file))
    browser.says("Accuracy 66.7 %: 2 of 3 rows with sold are right.")
    rows = browser.driver.find_elements(By.CSS_SELECTOR, "#answers tbody tr")
    assert rows[0].text == "1 1 Ulm 2 no no"
    is_fine(browser)
    browser.find("#file").send_keys(str(file))  # the page was loaded anew
    browser.says("2 of 3 rows")
    browser.find("#known").click()
    browser.says("The model does not take id, sold: there is city, area")

    price = "return features.area * 10.5"
    info = {"Name": "Houses", "Target": "price"}
    shop.publish(main_py(price, head=head, features="features: House"), info=info, kind="regression")
    file.write_text("city,area,price\nUlm,2,20\nBonn,4,44\n")
    browser.open("/predict")
    browser.find("#file").send_keys(str(file))
    browser.says("Mean absolute error 1.5 of 2 rows with price.")


def test_a_csv_of_rows_is_answered_beside_what_was_asked(
    shop: Shop, browser: Browser, tmp_path: Path
) -> None:
    head = "from dataclasses import dataclass\n\n@dataclass\nclass House:\n    city: str\n    area: float\n"
    shop.publish(main_py("return features.area * 1234.56789", head=head, features="features: House"))
    file = tmp_path / "houses.csv"
    file.write_text('\ufeffcity,area\n"Ulm, ""old""\ntown",2\n\nBonn,1000\n')
    browser.open("/predict")
    browser.driver.execute_script(
        "const make = URL.createObjectURL; URL.createObjectURL = (blob) => make(window.kept = blob)"
    )
    browser.find("#file").send_keys(str(file))
    browser.says("2 predictions")
    rows = browser.driver.find_elements(By.CSS_SELECTOR, "#answers tbody tr")
    assert [row.text for row in rows] == ['1 Ulm, "old" town 2 2469.14', "2 Bonn 1000 1,234,570"]
    assert browser.find("#answers tbody td[title]").get_attribute("title") == "2469.13578"
    assert browser.driver.execute_script("return kept.text()") == (
        'row,city,area,prediction\n1,"Ulm, ""old""\ntown",2,2469.13578\n2,Bonn,1000,1234567.8900000001\n'
    )
    is_fine(browser)

    file.write_text("city,area\nUlm,2\nBonn,big\n")
    browser.open("/predict")
    browser.find("#file").send_keys(str(file))
    browser.says("row 2: area has to be")

    more = "def examples(self): return [3]"
    shop.publish(main_py(BAND, head="import datetime, math", more=more), kind="time-series")
    file.write_text("days\n40\n")
    browser.open("/predict")
    browser.find("#file").send_keys(str(file))
    browser.says("… (40 in all)")
    is_fine(browser)


def test_several_models_are_on_one_page(two: Shop, driver: Chrome) -> None:
    browser = Browser(driver, two.url)
    browser.open("/")
    browser.says("The one")
    browser.says("Nothing has been merged yet.")
    two.model = "other"
    a_release(two, Status.REJECTED, reason="train() raised KeyError")
    building = a_release(two, Status.BUILDING, commit="c" * 40)
    with two.sessions.begin() as session:
        session.add(Stage(release_id=building, name="train"))

    browser.says("Rejected last: release 2, train() raised KeyError")
    browser.says("Building release 3: train for")
    is_fine(browser)
    browser.click("Predict", "nav")
    browser.says("other is not live yet")
    is_fine(browser)
    browser.click("The one")
    browser.find("[name=features]")
    browser.click("Overview", "nav")
    browser.click("The one")
    browser.says("Metrics")
    is_fine(browser)
    browser.open("/models/other")
    browser.says("The first release is on its way")
    is_fine(browser)


def test_a_release_says_what_the_gate_said_and_what_it_changes(shop: Shop, browser: Browser) -> None:
    rule = {"metric": "SMAPE", "value": 0.3, "live": 0.2, "change": 0.5, "rule": "at most 9", "passed": False}
    verdict = {"rules": [rule], "note": "an older test set", "compared_with": 1, "passed": False}
    worst = [
        {"features": "<b>", "live": "1", "this": "4", "change": 3.0},
        {"features": "2", "live": "1", "this": '"KeyError"', "change": None},
    ]
    numbers = {"compared": 4, "changed": 2, "failed": 1, "share": 0.5, "mean": 0.75, "largest": 3.0}
    shop.publish(main_py())
    facts = {
        "verdict": verdict,
        "differences": differences(**numbers, worst=worst),
        "metrics": {"SMAPE": 0.3},
        "reason": "SMAPE",
    }
    rejected = a_release(shop, Status.REJECTED, **facts)
    browser.open(f"/releases/{rejected}?beside=1")

    browser.says(
        "Of 4 recorded requests that release 1 answered, 2 get another prediction (50%), 1 of them none."
    )
    browser.says("Numbers change by 0.75 in the mean, and by 3 at most.")
    rows = browser.driver.find_elements(By.CSS_SELECTOR, "[aria-label='The largest changes'] tbody tr")
    assert [row.text for row in rows] == ["<b> 1 4 3", '2 1 "KeyError" –']
    browser.says("SMAPE 0.3 0.2 +50.0% at most 9 not passed")
    is_fine(browser)


def test_series_that_changed_are_two_curves_in_one_chart(shop: Shop, browser: Browser) -> None:
    days = [f"2026-01-{day:02}T00:00:00" for day in range(1, 31)]
    live = json.dumps([[day, place] for place, day in enumerate(days)])
    this = json.dumps([[day, place + 0.123456789] for place, day in enumerate(days)])[:600] + "…"
    numbers = {"compared": 2, "changed": 2, "share": 1.0, "mean": 0.1, "largest": 0.1}
    worst = [
        {"features": str(n), "live": one, "this": this, "change": 1} for n, one in ((1, "7"), (30, live))
    ]
    release = shop.publish(main_py(), differences=differences(**numbers, worst=worst))
    browser.open(f"/releases/{release}")

    browser.find("#chart canvas")
    legend = [one.text for one in browser.driver.find_elements(By.CSS_SELECTOR, "#chart .u-legend th")]
    assert [word.rstrip(":") for word in legend] == ["When", "Live then", "This release"]
    browser.says("The series that changes most, as far as it is stored, for 30")
    is_fine(browser)


def test_pull_requests_and_what_became_of_each(
    sessions: sessionmaker[Session], database_url: str, driver: Chrome, tmp_path: Path
) -> None:
    facts = {
        "repository": "acme/web-traffic",
        "base_ref": "main",
        "merged_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    with sessions.begin() as session:
        for number, title in ((1, "First"), (2, "Worse")):
            sha = str(number) * 40
            session.add(PullRequest(id=number, number=number, title=title, merge_commit_sha=sha, **facts))
        ended = {"status": Status.REJECTED, "reason": "train() raised KeyError"}
        session.add(Release(model="web-traffic", repository="acme/web-traffic", commit="2" * 40, **ended))
    told = {"SLIPWAY_REPOSITORY": "acme/web-traffic", "database_url": database_url, "SLIPWAY_SYNC_SECONDS": 0}
    told |= {"SLIPWAY_HOME": tmp_path}
    with listening(VcsSettings(**told), sessions) as client:
        browser = Browser(driver, str(client.base_url).rstrip("/"))
        browser.open("/pull-requests")
        rows = browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")
        assert "Worse" in rows[0].text
        assert "rejected release" in rows[0].text
        assert "train() raised KeyError" in rows[0].text
        assert "not built" in rows[1].text
        is_fine(browser)
        browser.open("/pull-requests?state=open")
        browser.says(f"curl -X POST {browser.url}/checkout")
        is_fine(browser)
    with listening(
        VcsSettings(**told, SLIPWAY_PRIVATE=True, SLIPWAY_TOKEN="of-the-operators"), sessions
    ) as client:
        browser.url = str(client.base_url).rstrip("/")
        browser.open("/pull-requests")
        browser.says("This appliance is private")
        is_fine(browser)


def test_every_page_says_postgres_is_away_and_live_stays(
    make_shop: Callable[..., Shop], driver: Chrome, tmp_path: Path
) -> None:
    with apart(make_shop, tmp_path / "postgres") as (made, own):
        told = {
            "SLIPWAY_REPOSITORY": "acme/web-traffic",
            "database_url": own.database_url(),
            "SLIPWAY_SYNC_SECONDS": 0,
        }
        with (
            made.serving() as shop,
            listening(VcsSettings(**told, SLIPWAY_HOME=tmp_path), made.sessions) as vcs,
        ):
            shop.publish(main_py("return features * 2"))
            browser = Browser(driver, shop.url)
            browser.open("/")
            browser.says("Metrics")
            own.stop()
            browser.says("Postgres is unavailable")  # the page has polled again
            browser.says("Metrics")
            assert not browser.violations()
            browser.open("/predict?x=21")
            assert browser.find(".result").text == "42"
            Browser(driver, str(vcs.base_url).rstrip("/")).open("/pull-requests")
            browser.says("The database does not answer")
            assert not browser.violations()
            browser.open("/releases")
            browser.says("Postgres is unavailable")
            assert not browser.violations()
            own.start()
            browser.until(lambda: "Latest" not in browser.text() and "Change 1" in browser.text(), "releases")


def test_a_narrow_screen_cuts_nothing_off_and_has_one_row(shop: Shop, browser: Browser) -> None:
    shop.publish(main_py(BAND, head="import datetime, math"), kind="time-series", known=HISTORY)
    shop.publish(main_py("1 / 0"), status=Status.REJECTED, reason="x" * 300, title="y" * 300)
    shape = {"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
    for path in (*PAGES, "/releases/2?beside=1"):
        browser.open(path)
        wide = browser.driver.execute_script("return document.documentElement.scrollWidth")
        links = browser.driver.find_elements(By.CSS_SELECTOR, "nav ul:not(.who) a")
        assert (path, wide) == (path, 360)
        assert (path, len({link.location["y"] for link in links})) == (path, 1)


def test_a_prediction_is_asked_for_by_keyboard_alone(shop: Shop, browser: Browser) -> None:
    shop.publish(main_py("return features * 2"), info={"Name": "Twice"})
    browser.open("/")

    def press(*keys: str) -> None:
        ActionChains(browser.driver).send_keys(*keys).perform()

    def reach(css: str) -> None:
        """By Tab, in no more steps than there are on the page."""
        for _ in range(60):
            press(Keys.TAB)
            if browser.driver.switch_to.active_element == browser.find(css):
                return
        raise AssertionError(f"Tab does not lead to {css}: {browser.text()}")

    reach(".skip")
    press(Keys.ENTER)
    reach(".hero a[role=button]")
    press(Keys.ENTER)
    browser.says("Twice")
    reach("[name=features]")
    press("21")
    reach("form.ask button")
    press(Keys.ENTER)
    assert browser.find(".result").text == "42"
