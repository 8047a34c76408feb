"""What a data scientist does at the pages, in a browser: from an empty appliance to a rollback."""

from pathlib import Path
from typing import TextIO

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from common.auth import operator_token
from db.models import Release, Stage
from db.states import StageOutcome, Status
from ml.paths import HomeLayout
from tests.browser.browser import Browser
from tests.ml.serving.support import Shop, main_py

SERIES = "return [['2026-01-%02dT00:00:00' % (n + 1), 10.5 + n] for n in range(features)]"
HOUSE = """
    from dataclasses import dataclass

    @dataclass
    class Place:
        city: str
        floor: int

    @dataclass
    class House:
        area: float
        kind: typing.Literal["flat", "house"]
        place: Place
"""
PAGES = (
    "/",
    "/predict",
    "/predict?num_days=7",
    "/releases",
    "/releases/1",
    "/releases/9",
    "/docs",
    "/nowhere",
    "/sign-in",
)
LIMIT = 100_000  # bytes of a page over the wire


def test_from_an_empty_appliance_to_a_rollback(shop: Shop, browser: Browser) -> None:
    browser.open("/")
    browser.says("Waiting for the first merge")
    assert not browser.violations()

    first = shop.publish(main_py(SERIES), kind="time-series", info={"Name": "Visits", "Type": "Time series"})
    browser.says("Metrics")  # the page has looked again by itself

    browser.click("Try it")
    days = browser.find("input[name=num_days]")
    days.clear()
    days.send_keys("7")
    browser.click("Predict", "form.ask")
    browser.find("#chart canvas")
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "table.series tbody tr")) == 7
    assert browser.driver.switch_to.active_element == browser.find("#answer")
    assert browser.driver.title == "Answer · Visits · Slipway"
    browser.click("30", ".examples")
    browser.until(
        lambda: browser.find("[name=num_days]").get_attribute("value") == "30", "example in the form"
    )
    browser.click("Copy", ".copyable")
    browser.says("Copied")

    second = shop.publish(main_py(SERIES), kind="time-series", metrics={"SMAPE": 0.2})
    rejected = a_release(shop, Status.REJECTED, reason="SMAPE 0.900, release 1 has 0.200 (may worsen by 5%)")
    browser.open("/releases")
    browser.click(str(rejected), "table.releases")
    browser.says("SMAPE 0.900, release 1 has 0.200 (may worsen by 5%)")

    browser.open("/")
    browser.says("-20.0% since 1")
    heavy, wrong = {}, {}
    for path in PAGES:
        browser.open(path)
        if found := browser.violations():
            wrong[path] = found
        if (bytes_ := browser.weight()) >= LIMIT:
            heavy[path] = bytes_
    assert not wrong
    assert not heavy

    sign_in(shop, browser)
    browser.open(f"/releases/{second}")
    browser.click("Train again")
    assert not browser.violations()
    browser.open("/")
    browser.click("Roll back")
    browser.find("details[open] input[name=why]").send_keys("numbers look odd")
    assert not browser.violations()
    browser.click("Roll back", "details[open] form")
    browser.until(lambda: shop.deployment(first).why == "numbers look odd", "rollback that says why")
    shop.until(first, "live")
    browser.open(f"/releases/{second}")
    browser.says("in quarantine")


def test_a_form_error_and_a_thousand_rows(shop: Shop, browser: Browser, tmp_path: Path) -> None:
    shop.publish(main_py("return features.area * 2", head=HOUSE, features="features: House"))
    browser.open("/predict?area=21&kind=house&place.city=Rome&place.floor=up")

    field = browser.find("[aria-invalid=true]")
    assert field.get_attribute("name") == "place.floor"
    assert field.get_attribute("value") == "up"
    assert browser.driver.switch_to.active_element == field
    assert not browser.violations()
    field.clear()
    field.send_keys("3")
    browser.click("Predict", "form.ask")
    assert browser.find(".result").text == "42"

    shop.publish(main_py("return features.get('a', 0) * 2"))
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b\n" + "".join(f"{n},1\n" for n in range(1000)))
    browser.open("/predict")
    browser.find("#file").send_keys(str(rows))
    browser.says("1,000 predictions")
    assert browser.find("#answers tbody tr:last-child").text == "1000 999 1 1998"
    assert browser.find("#answers a[download]").get_attribute("href").startswith("blob:")
    assert not browser.violations()


def test_a_list_is_typed_row_by_row(shop: Shop, browser: Browser) -> None:
    head = """
    from dataclasses import dataclass

    @dataclass
    class Item:
        name: str
        price: float

    @dataclass
    class Basket:
        items: list[Item]
    """
    body = "return sum(item.price for item in features.items)"
    shop.publish(main_py(body, head=head, features="features: Basket"))
    browser.open("/predict")
    for number, (name, price) in enumerate((("tea", "3"), ("<b>", "99"), ("cake", "4.5")), 1):
        if number > 1:
            browser.click("Add a row")
        browser.find(f"[aria-label='Items, row {number}: name']").send_keys(name)
        browser.find(f"[aria-label='Items, row {number}: price']").send_keys(price)
    browser.find("[aria-label='Remove row 2 of Items']").click()
    assert not browser.violations()
    browser.click("Predict", "form.ask")

    assert browser.find(".result").text == "7.5"
    assert browser.find("[aria-label='Items, row 2: name']").get_attribute("value") == "cake"


def test_a_log_and_a_stage_are_on_the_screen_as_they_happen(shop: Shop, browser: Browser) -> None:
    building = a_release(shop, Status.BUILDING, pull_request=3)
    browser.open(f"/releases/{building}")
    seven = ["checkout", "environment", "data", "train", "evaluate", "gate", "deploy"]
    ahead = browser.driver.find_elements(By.CSS_SELECTOR, "ol.stages .ahead strong")
    assert [one.text for one in ahead] == seven

    def stages() -> list[tuple[str, str]]:
        found = browser.driver.find_elements(By.CSS_SELECTOR, "ol.stages li:not(.ahead)")
        return [(one.find_element(By.TAG_NAME, "strong").text, one.get_attribute("class")) for one in found]

    def logs() -> list[str]:
        found = browser.driver.find_elements(By.CSS_SELECTOR, "#logs pre")
        return [str(one.get_attribute("textContent")) for one in found]

    # whatever is waited for here is seen while the stage goes on: nobody has ended it yet
    train, log = begin(shop, building, "train")
    browser.until(lambda: stages() == [("train", "running")], "running stage")
    print("epoch 1 <b>", file=log, flush=True)
    browser.until(lambda: logs() == ["epoch 1 <b>\n"], "first line")
    print("epoch 2", file=log, flush=True)
    browser.until(lambda: logs() == ["epoch 1 <b>\nepoch 2\n"], "second line after the first")
    assert stages() == [("train", "running")]
    assert f"Release {building} building: train" in browser.driver.title
    browser.find("#find").send_keys("EPOCH")
    browser.says("1 of 2")
    assert not browser.violations()

    with shop.sessions.begin() as session:
        session.get_one(Stage, train).outcome = StageOutcome.DONE
    _, log = begin(shop, building, "evaluate")
    browser.until(lambda: stages() == [("train", "done"), ("evaluate", "running")], "next stage")
    print("scored", file=log, flush=True)
    browser.until(lambda: logs()[1:] == ["scored\n"], "log of the next stage below the first")
    browser.find("#find").send_keys(Keys.ENTER)
    browser.says("2 of 2")  # what is searched for stays while the page changes
    assert browser.driver.execute_script("return [...CSS.highlights.get('here')].join()") == "epoch"
    browser.find("#find").send_keys("s")
    browser.says("not in the logs")

    with shop.sessions.begin() as session:
        release = session.get_one(Release, building)
        assert release.status is Status.BUILDING
        release.status, release.reason = Status.REJECTED, "SMAPE 0.900"
    browser.says("SMAPE 0.900")
    browser.until(lambda: "hx-get" not in browser.find("#main").get_attribute("outerHTML")[:200], "rest")


def begin(shop: Shop, release: int, name: str) -> tuple[int, TextIO]:
    """A stage as a builder begins it, and the file that its log goes to."""
    with shop.sessions.begin() as session:
        session.add(stage := Stage(release_id=release, name=name))
        session.flush()
        number = stage.id
    log = HomeLayout(shop.settings.home).log_path(release, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    return number, log.open("a")


def a_release(shop: Shop, status: Status, commit: str = "b" * 40, **facts: object) -> int:
    with shop.sessions.begin() as session:
        release = Release(
            model=shop.model, repository="acme/web-traffic", commit=commit, status=status, **facts
        )
        session.add(release)
        session.flush()
        return release.id


def sign_in(shop: Shop, browser: Browser) -> None:
    browser.open("/sign-in")
    known = operator_token.read_stored(shop.settings.home.absolute())
    assert known
    browser.find("#token").send_keys(known)
    browser.click("Sign in", "form.narrow")
    browser.says("Sign out")
