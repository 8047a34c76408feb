"""Several repositories behind one appliance, as models.toml names them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.orm import Session, sessionmaker

from resources.demo.github import FakePullRequests, create_server
from tests.vcs.conftest import TOKEN, SettingsOf, listening
from vcs.settings import VcsSettings

MODELS = """
[widgets]
repository = "acme/widgets"
[widgets-next]
repository = "acme/widgets"
branch = "next"
[gadgets]
repository = "acme/gadgets"
"""


@pytest.fixture
def others() -> Iterator[tuple[FakePullRequests, FakePullRequests, str]]:
    widgets, gadgets = FakePullRequests("acme/widgets"), FakePullRequests("acme/gadgets")
    with create_server(widgets, gadgets, token=TOKEN) as running:
        yield widgets, gadgets, running.url


@pytest.fixture
def following(
    settings_of: SettingsOf, others: tuple[FakePullRequests, FakePullRequests, str], tmp_path: Path
) -> Callable[[str], VcsSettings]:
    def make(text: str) -> VcsSettings:
        (tmp_path / "models.toml").write_text(text)
        return settings_of(repository="", models_file=tmp_path / "models.toml", github_api_url=others[2])

    return make


def test_one_checkout_syncs_all_of_them(
    following: Callable[[str], VcsSettings],
    others: tuple[FakePullRequests, FakePullRequests, str],
    sessions: sessionmaker[Session],
) -> None:
    widgets, gadgets, _ = others
    widgets.merge(widgets.open("One", head="a"), commit="aaaaaa")
    widgets.merge(widgets.open("Next", head="b", base="next"), commit="bbbbbb")
    gadgets.merge(gadgets.open("Two", head="c"), commit="cccccc")

    with listening(following(MODELS), sessions) as client:
        found = client.post("/checkout").json()
        assert (found["repository"], found["rows"], found["newly_accepted"]) == (
            "acme/widgets, acme/gadgets",
            3,
            3,
        )
        assert commits(client, "/pull-requests") == ["aaaaaa"]
        assert commits(client, "/pull-requests?branch=next") == ["bbbbbb"]
        assert commits(client, "/pull-requests?repository=acme/gadgets") == ["cccccc"]
        assert client.get("/pull-requests?repository=acme/others").status_code == 404


def commits(client: httpx.Client, path: str) -> list[str]:
    return [pull["commit"] for pull in client.get(path).json()["pull_requests"]]


def test_one_that_cannot_be_asked_keeps_no_other_from_it(
    following: Callable[[str], VcsSettings],
    others: tuple[FakePullRequests, FakePullRequests, str],
    sessions: sessionmaker[Session],
) -> None:
    _, gadgets, _ = others
    gadgets.merge(gadgets.open("Two", head="c"), commit="cccccc")
    settings = following('[lost]\nrepository = "acme/lost"\n[gadgets]\nrepository = "acme/gadgets"\n')

    with listening(settings, sessions) as client:
        answer = client.post("/checkout")
        assert answer.status_code == 502
        assert "In acme/lost: 404" in answer.json()["detail"]
        assert commits(client, "/pull-requests?repository=acme/gadgets") == ["cccccc"]
