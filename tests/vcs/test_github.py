"""The stand-in behaves as GitHub does where the tap looks, and keeps what it is told."""

from pathlib import Path

import httpx
import pytest

from resources.demo.github import FakeGitHub, FakePullRequests, create_server
from resources.demo.github.pulls import generate_pulls
from tests.harness import plain_http
from tests.vcs.conftest import REPOSITORY, TOKEN

NEWEST_FIRST = "state=all&sort=updated&direction=desc"


@pytest.fixture
def api(github: FakeGitHub) -> httpx.Client:
    return plain_http.Client(base_url=github.url, headers={"Authorization": f"token {TOKEN}"})


def test_pages_are_linked_to_each_other(api: httpx.Client, pulls: FakePullRequests) -> None:
    generate_pulls(pulls, 250)
    numbers = []
    url = f"/repos/{REPOSITORY}/pulls?{NEWEST_FIRST}&per_page=1000"
    while url:
        page = api.get(url)
        assert len(page.json()) <= 100
        numbers += [pull["number"] for pull in page.json()]
        url = page.links.get("next", {}).get("url", "")

    assert sorted(numbers) == list(range(1, 251))
    assert set(page.links) == {"first", "prev"}


def test_only_open_ones_are_listed_unless_asked(api: httpx.Client, pulls: FakePullRequests) -> None:
    generate_pulls(pulls, 20)
    found = api.get(f"/repos/{REPOSITORY}/pulls").json()

    assert [pull["number"] for pull in found] == [20, 10]
    assert found[0]["merged_at"] is None
    assert found[0]["base"]["repo"]["full_name"] == REPOSITORY


def test_the_newest_change_comes_first(api: httpx.Client, pulls: FakePullRequests) -> None:
    generate_pulls(pulls, 20)
    pulls.touch(7, title="Edited")

    assert api.get(f"/repos/{REPOSITORY}/pulls?{NEWEST_FIRST}").json()[0]["title"] == "Edited"


def test_who_may_not_see_it_is_told_as_github_does(github: FakeGitHub, api: httpx.Client) -> None:
    assert plain_http.get(f"{github.url}/repos/{REPOSITORY}").json()["message"] == "Bad credentials"
    assert api.get("/repos/acme/unknown/pulls").status_code == 404
    assert api.get(f"/repos/{REPOSITORY}/pulls/99").status_code == 404
    assert int(api.get(f"/repos/{REPOSITORY}").headers["X-RateLimit-Remaining"]) < 5000


def test_control_calls_change_what_it_answers(api: httpx.Client, pulls: FakePullRequests) -> None:
    number = api.post("/_control/open", json={"title": "By call", "head": "a"}).json()
    api.post("/_control/merge", json={"number": number})

    assert pulls.get(number).merged_at
    assert api.post("/_control/merge", json={"number": 99}).status_code == 409
    assert api.post("/_control/fault", json={"kind": "earthquake"}).status_code == 409
    assert api.post("/_control/unknown").status_code == 404


def test_an_action_of_the_owner_goes_before(pulls: FakePullRequests) -> None:
    with create_server(pulls, actions={"merge": lambda name: f"merged {name}"}) as github:
        assert plain_http.post(f"{github.url}/_control/merge", json={"name": "it"}).json() == "merged it"


def test_pull_requests_are_kept_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "pulls.json"
    kept = FakePullRequests(REPOSITORY, path)
    kept.merge(kept.open("Kept", head="a"), commit="abc")

    again = FakePullRequests(REPOSITORY, path)

    assert again.get(1) == kept.get(1)
    assert again.open("The next", head="b") == 2
