"""vcs answers under its own names alone; GitHub calls it by one that SLIPWAY_HOSTS has."""

import httpx
import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.harness.raw import request
from tests.vcs.conftest import SettingsOf, listening
from tests.vcs.test_webhook import BODY, headers

PATHS = (
    "/",
    "/checkout",
    "/webhook",
    "/pull-requests",
    "/metrics",
    "/docs",
    "/static/slipway.css",
    "/nowhere",
)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_under_another_name_nothing_is_answered(client: httpx.Client, method: str) -> None:
    for path in PATHS:
        answer = client.request(method, path, headers={"Host": "evil.example"})
        assert (answer.status_code, path) == (421, path)
        assert "SLIPWAY_HOSTS=evil.example" in answer.json()["detail"]


def test_probes_are_answered_under_any_name(client: httpx.Client) -> None:
    assert client.get("/health", headers={"Host": "10-1-2-3.pod.internal"}).status_code == 200
    browser = {"Host": "evil.example", "Accept-Language": "de"}
    assert client.get("/health", headers=browser).status_code == 421


def test_github_delivers_under_a_name_that_is_set(
    settings_of: SettingsOf, sessions: sessionmaker[Session]
) -> None:
    with listening(settings_of(hosts="slipway.example.com"), sessions) as client:
        named = headers(BODY) | {"Host": "slipway.example.com"}
        assert client.post("/webhook", content=BODY, headers=named).status_code == 202
        other = headers(BODY) | {"Host": "ship.example.com"}
        assert client.post("/webhook", content=BODY, headers=other).status_code == 421


def test_a_request_has_one_host_and_a_sound_one(client: httpx.Client) -> None:
    url = str(client.base_url)
    for path in ("/", "/health", "/pull-requests"):
        assert request(url, path, "Host: localhost") == 200
        assert request(url, path) == 400
        assert request(url, path, "Host: localhost", "Host: evil.example") == 400
        assert request(url, path, "Host: a b") == 400
