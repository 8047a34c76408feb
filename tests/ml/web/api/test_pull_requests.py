"""Open pull requests over HTTP: listed with their checks, approved and checked again by operators alone."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import text as sql

from common.auth import operator_token
from db.states import Status, Trigger
from tests.ml.checks.test_checks import show
from tests.ml.conftest import Appliance
from tests.ml.serving.support import Shop
from tests.ml.web.api.conftest import Operator, operators
from tests.ml.web.pages.test_pages import EVIL, HTML
from tests.models import working

PULLS = "/models/web-traffic/pull-requests"


@pytest.fixture
def both(appliance: Appliance) -> Iterator[tuple[Appliance, Shop, Operator]]:
    """The building half and the serving half of one appliance."""
    made = Shop(appliance.serving, appliance.sessions, appliance.repository)
    with made.serving() as shop, operators(shop) as operator:
        yield appliance, shop, operator


def test_a_fork_is_approved_and_checked_again(both: tuple[Appliance, Shop, Operator]) -> None:
    appliance, shop, operator = both
    head = appliance.repository.propose(7, working.quick())
    show(appliance, 7, head, head_repository_id=2)
    appliance.settle()
    (pull,) = shop.get(PULLS).json()["pull_requests"]
    assert (pull["number"], pull["head"], pull["fork"], pull["needs_approval"]) == (7, head, True, True)
    assert pull["check"] is None

    assert operator(f"{PULLS}/7/approve", head=head, who="dana").status_code == 202
    appliance.settle()
    (pull,) = shop.get(PULLS).json()["pull_requests"]
    assert (pull["needs_approval"], pull["check"]["status"]) == (False, Status.CHECKED)
    assert pull["check"]["outdated"] is False

    again = operator(f"{PULLS}/7/check", head=head)
    assert again.status_code == 202
    waiting = operator(f"{PULLS}/7/check", head=head)
    assert (waiting.status_code, waiting.json()["title"]) == (409, "It waits")
    appliance.settle()
    checks = [release for release in appliance.releases() if release.trigger is Trigger.CHECK]
    assert [check.status for check in checks] == [Status.CHECKED, Status.CHECKED]
    assert again.headers["Location"] == f"/releases/{checks[0].id}"


def test_an_approval_names_the_newest_head(both: tuple[Appliance, Shop, Operator]) -> None:
    appliance, _, operator = both
    head = appliance.repository.propose(7, working.quick())
    show(appliance, 7, head, head_repository_id=2)
    moved = operator(f"{PULLS}/7/approve", head="0" * 40)
    assert (moved.status_code, moved.json()["title"]) == (409, "The pull request has moved")
    assert head in moved.json()["detail"]
    assert operator(f"{PULLS}/8/approve", head=head).status_code == 404
    for wrong in ("main", "0" * 41, "--upload-pack=x"):
        assert operator(f"{PULLS}/7/approve", head=wrong).status_code == 422
    assert operator(f"{PULLS}/7/approve").status_code == 422
    assert operator(f"{PULLS}/{10**30}/approve", head=head).status_code in (404, 422)
    appliance.settle()
    assert appliance.releases() == []


def test_a_fork_is_approved_by_the_button_of_its_page(both: tuple[Appliance, Shop, Operator]) -> None:
    appliance, shop, _ = both
    head = appliance.repository.propose(7, working.quick())
    show(appliance, 7, head, head_repository_id=2)
    assert "waits for approval" in shop.get(PULLS, HTML).text
    assert "/approve" not in shop.get(PULLS, HTML).text  # for operators alone
    page = {"Accept": HTML, "Origin": shop.url}
    with httpx.Client(base_url=shop.url, trust_env=False, headers=page) as client:
        known = operator_token.read_stored(shop.settings.home)
        client.post("/sign-in", data={"token": known or ""})
        form = client.get(PULLS).text
        assert f'action="{PULLS}/7/approve"' in form and f'name="head" value="{head}"' in form

        moved = client.post(f"{PULLS}/7/approve", data={"head": "0" * 40, "why": ""})
        assert (moved.status_code, "The pull request has moved" in moved.text) == (409, True)
        elsewhere = {"Origin": "https://evil.example"}
        assert client.post(f"{PULLS}/7/approve", data={"head": head}, headers=elsewhere).status_code == 403
        assert "waits for approval" in client.get(PULLS).text

        done = client.post(f"{PULLS}/7/approve", data={"head": head, "why": "read it"})
        assert (done.status_code, done.headers["Location"]) == (303, PULLS)
        appliance.settle()
        assert f"{PULLS}/7/check" in client.get(PULLS).text
    page_of_all = shop.get(PULLS, HTML).text
    check = appliance.releases()[0]
    for words in (f'href="/releases/{check.id}"', f'href="/releases/{check.id}/predict"', "SMAPE", "checked"):
        assert words in page_of_all


def test_words_of_github_are_one_line_of_text(both: tuple[Appliance, Shop, Operator]) -> None:
    appliance, shop, _ = both
    with appliance.sessions.begin() as session:
        session.execute(
            sql("""
                INSERT INTO vcs.pull_requests
                    (id, _sdc_repository, number, state, title, user_login, base_ref, head_sha)
                VALUES (7, 'acme/web-traffic', 7, 'open', :title, :author, 'main', :head)
            """),
            {"title": f"{EVIL}\n\u202e{'x' * 5000}", "author": f"\u2066{EVIL}", "head": "a" * 40},
        )
    page = shop.get(PULLS, HTML).text
    assert "<script>alert" not in page and "<img src=x" not in page
    assert not {"\u202e", "\u2066"} & set(page)
    assert "x" * 150 not in page and len(page) < 10_000
    assert shop.get(PULLS).json()["pull_requests"][0]["title"].endswith("x" * 5000)


def test_the_overview_counts_open_pull_requests(both: tuple[Appliance, Shop, Operator]) -> None:
    appliance, shop, _ = both
    assert "open pull request" not in shop.get("/", HTML).text
    assert "There is no open pull request" in shop.get(PULLS, HTML).text
    show(appliance, 7, "a" * 40)
    assert f'<a href="{PULLS}">1 open pull request</a>' in shop.get("/", HTML).text
    show(appliance, 8, "b" * 40)
    assert f'<a href="{PULLS}">2 open pull requests</a>' in shop.get("/", HTML).text


def test_a_model_that_is_not_there_has_no_pull_requests(both: tuple[Appliance, Shop, Operator]) -> None:
    _, shop, _ = both
    for accept in (HTML, "application/json"):
        assert shop.get("/models/nobody/pull-requests", accept).status_code == 404


def test_only_operators_approve(both: tuple[Appliance, Shop, Operator]) -> None:
    appliance, shop, _ = both
    head = appliance.repository.propose(7, working.quick())
    show(appliance, 7, head, head_repository_id=2)
    for path in ("approve", "check"):
        answer = httpx.post(f"{shop.url}{PULLS}/7/{path}", json={"head": head}, trust_env=False)
        assert answer.status_code == 401
    appliance.settle()
    assert appliance.releases() == []
