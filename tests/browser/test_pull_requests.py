"""The page of open pull requests: in every shape, approved by an operator, and usable with five hundred."""

from pathlib import Path
from typing import Any

from selenium.webdriver.common.by import By
from sqlalchemy import select

from db.models import Approval, Release, Stage
from db.states import Status, Trigger
from db.vcs_models import PullRequest
from tests.browser.browser import Browser
from tests.browser.test_every_page import LONG, is_fine_in_every_shape
from tests.browser.test_story import LIMIT, sign_in
from tests.ml.serving.support import Shop, differences, main_py

PULLS = "/models/web-traffic/pull-requests"
RULE = {"metric": "SMAPE", "value": 0.135, "live": 0.342, "change": -0.6, "rule": "may worsen by 5%"}


def open_pull(shop: Shop, number: int, **fields: Any) -> str:
    """Store an open pull request as Singer does; return its head."""
    facts = {
        "title": f"Change {number}",
        "user_login": "dana",
        "head_sha": f"{number:040x}",
        "head_repository_id": 1,
        "base_repository_id": 1,
        **fields,
    }
    with shop.sessions.begin() as session:
        pull = PullRequest(id=number, number=number, state="open", base_ref="main", **facts)
        pull.repository = "acme/web-traffic"
        session.add(pull)
    return str(facts["head_sha"])


def check(shop: Shop, number: int, status: Status, **facts: Any) -> int:
    """Leave the check of an open pull request as a builder does."""
    with shop.sessions.begin() as session:
        release = Release(
            model=shop.model,
            repository="acme/web-traffic",
            commit=f"{number:040x}",
            trigger=Trigger.CHECK,
            pull_request=number,
            status=status,
            title=f"Change {number}",
            **facts,
        )
        session.add(release)
        session.flush()
        return release.id


def judged(passed: bool, **facts: Any) -> dict[str, Any]:
    """What the gate leaves of a check."""
    verdict = {"rules": [RULE | {"passed": passed}], "note": None, "compared_with": 1, "passed": passed}
    changes = differences(compared=200, changed=12, share=0.06, mean=0.75, largest=3.0, worst=[])
    return {"verdict": verdict, "differences": changes, "metrics": {"SMAPE": 0.135}, "artifact": "a", **facts}


def test_open_pull_requests_of_every_state(shop: Shop, browser: Browser) -> None:
    shop.publish(main_py())
    is_fine_in_every_shape(browser, [PULLS])  # none is open
    open_pull(shop, 1, title=LONG, user_login=LONG)
    check(shop, 1, Status.CHECKED, **judged(True))
    open_pull(shop, 2)
    check(shop, 2, Status.REJECTED, reason=LONG, **judged(False))
    open_pull(shop, 3)
    building = check(shop, 3, Status.BUILDING)
    with shop.sessions.begin() as session:
        session.add(Stage(release_id=building, name="environment"))
    open_pull(shop, 4, draft=True)
    open_pull(shop, 5, head_repository_id=None, title="\u202e" + LONG)
    open_pull(shop, 6, title=None, user_login=None)
    is_fine_in_every_shape(browser, ["/", PULLS, f"/releases/{building}"])
    browser.open(PULLS)
    browser.says("12 of 200 change (6%)")
    browser.says("SMAPE 0.135 live 0.342")
    browser.says("building: environment")
    sign_in(shop, browser)
    is_fine_in_every_shape(browser, [PULLS, f"/releases/{building}"])
    browser.open(PULLS)
    browser.driver.execute_script("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert not browser.violations()


def test_a_fork_is_approved_at_the_head_that_was_seen(shop: Shop, browser: Browser) -> None:
    def approvals() -> list[tuple[int, str, str]]:
        with shop.sessions.begin() as session:
            return [(one.pull_request, one.head, one.who) for one in session.scalars(select(Approval))]

    shop.publish(main_py())
    head = open_pull(shop, 7, head_repository_id=2)
    browser.open("/")
    browser.click("1 open pull request")
    browser.says("waits for approval")
    assert not browser.driver.find_elements(By.CSS_SELECTOR, ".decide")
    sign_in(shop, browser)

    browser.open(PULLS)
    browser.click("Approve")
    with shop.sessions.begin() as session:  # it moves while the operator reads
        session.get_one(PullRequest, 7).head_sha = "f" * 40
    browser.click("Approve", "details[open] form")
    browser.says("The pull request has moved")
    assert not browser.violations()
    assert approvals() == []

    with shop.sessions.begin() as session:
        session.get_one(PullRequest, 7).head_sha = head
    browser.open(PULLS)
    browser.click("Approve")
    browser.click("Approve", "details[open] form")
    browser.says("not queued yet")
    assert browser.driver.current_url.endswith(PULLS)
    assert approvals() == [(7, head, "operator")]


def test_a_check_is_made_again_of_the_head_that_was_seen(
    shop: Shop, browser: Browser, tmp_path: Path
) -> None:
    def checked() -> list[tuple[str, Status]]:
        with shop.sessions.begin() as session:
            found = session.scalars(
                select(Release).where(Release.trigger == Trigger.CHECK).order_by(Release.id)
            )
            return [(each.commit, each.status) for each in found]

    shop.publish(main_py())
    head = open_pull(shop, 7)
    check(shop, 7, Status.REJECTED, reason="the data cannot be read", **judged(False))
    sign_in(shop, browser)
    browser.open(PULLS)
    browser.click("Check again")
    assert "Why" not in browser.text()  # nobody would read it
    browser.shows(tmp_path / "check-again.png")
    with shop.sessions.begin() as session:  # it moves while the operator reads
        session.get_one(PullRequest, 7).head_sha = "f" * 40
    browser.click("Check again", "details[open] form")
    browser.says("The pull request has moved")
    assert checked() == [(head, Status.REJECTED)]

    with shop.sessions.begin() as session:
        session.get_one(PullRequest, 7).head_sha = head
    browser.open(PULLS)
    browser.click("Check again")
    browser.click("Check again", "details[open] form")
    browser.says("check, by operator")
    assert checked() == [(head, Status.REJECTED), (head, Status.QUEUED)]
    browser.open(PULLS)
    browser.says("queued")
    browser.shows(tmp_path / "queued.png")
    assert not browser.violations()
    assert "Check again" not in browser.text()


def test_five_hundred_open_pull_requests_are_one_light_page(shop: Shop, browser: Browser) -> None:
    shop.publish(main_py())
    for number in range(1, 502):
        open_pull(shop, number, title=f"Change {number} of the many that wait")
        check(shop, number, Status.CHECKED, **judged(True, base="b" * 40))
    sign_in(shop, browser)
    browser.open(PULLS)
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 500
    browser.says("Only the newest 500 are checked.")
    assert browser.weight() < LIMIT
    browser.driver.find_element(By.CSS_SELECTOR, "#pull-300 .decide summary").click()
    assert browser.find("#pull-300 details[open] input[name=head]").get_attribute("value") == f"{300:040x}"
