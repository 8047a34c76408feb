"""The pull requests for people: what became of each, and foreign titles as text."""

from datetime import UTC, datetime
from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from common.auth import operator_token, session_cookie
from db.models import Release
from db.states import Status
from db.vcs_models import PullRequest
from resources.demo.github import FakePullRequests
from tests.vcs.conftest import REPOSITORY, SettingsOf, listening
from vcs.app import create_app
from vcs.settings import VcsSettings

HTML = {"Accept": "text/html"}
EVIL = "<script>alert(1)</script>"


def test_what_became_of_each_is_on_the_page(settings: VcsSettings, sessions: sessionmaker[Session]) -> None:
    merged = datetime(2026, 1, 1, tzinfo=UTC)
    with sessions.begin() as session:
        facts = {"repository": REPOSITORY, "base_ref": "main", "state": "closed", "merged_at": merged}
        for number, commit in ((1, "a" * 40), (2, "b" * 40)):
            session.add(PullRequest(id=number, number=number, merge_commit_sha=commit, title=EVIL, **facts))
        rejected = {"status": Status.REJECTED, "reason": "train() raised KeyError"}
        session.add(Release(model="m", repository=REPOSITORY, commit="a" * 40, **rejected))
    client = TestClient(create_app(settings, sessions), base_url="http://localhost")  # nothing syncs

    page = client.get("/pull-requests", headers=HTML)
    rows = client.get("/pull-requests").json()["pull_requests"]

    assert "train() raised KeyError" in page.text
    assert "not built" in page.text
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert [row["release"] and row["release"]["status"] for row in rows] == [None, "rejected"]
    assert client.get("/static/slipway.css").status_code == 200


def test_the_start_leads_a_person_on_and_tells_a_program(
    settings: VcsSettings, sessions: sessionmaker[Session]
) -> None:
    client = TestClient(create_app(settings, sessions), base_url="http://localhost")

    assert client.get("/", headers=HTML).url.path == "/pull-requests"
    calls = client.get("/").json()["calls"]
    assert [client.get(call.split()[1]).status_code for call in calls if call.startswith("GET")] == [200] * 4


def test_a_private_appliance_shows_them_to_operators_alone(
    settings_of: SettingsOf, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    client = TestClient(
        create_app(settings_of(private=True, home=tmp_path, ml_port=8123), sessions),
        base_url="http://localhost",
    )

    strangers = [client.get(path).status_code for path in ("/pull-requests", "/metrics", "/docs")]
    unknown = client.get("/pull-requests", headers=HTML)
    operator_token.create_if_missing(tmp_path)  # as serve does, maybe later
    kept = operator_token.read_stored(tmp_path)
    refused = client.get("/pull-requests", headers=HTML)

    assert kept
    assert strangers == [401, 401, 401]
    assert "set SLIPWAY_TOKEN" in unknown.text
    assert refused.status_code == 401
    assert 'href="http://localhost:8123/sign-in"' in refused.text
    assert client.get("/pull-requests", headers={"Authorization": f"Bearer {kept}x"}).status_code == 401
    assert client.get("/pull-requests", headers={"Authorization": f"Bearer {kept}"}).status_code == 200
    signed_in = {"Cookie": f"{session_cookie.COOKIE_NAME}={session_cookie.cookie_value(kept)}"}
    assert client.get("/pull-requests", headers=HTML | signed_in).status_code == 200
    assert client.get("/health").status_code == 200
    assert client.get("/static/slipway.css").status_code == 200


def test_the_operators_token_may_be_said(settings_of: SettingsOf, sessions: sessionmaker[Session]) -> None:
    client = TestClient(
        create_app(settings_of(bind="0.0.0.0", token="of-the-operators"), sessions),
        base_url="http://localhost",
    )

    assert client.get("/pull-requests").status_code == 401
    assert (
        client.get("/pull-requests", headers={"Authorization": "Bearer of-the-operators"}).status_code == 200
    )


def test_addresses_lead_through_a_proxy_with_a_prefix(
    settings: VcsSettings, sessions: sessionmaker[Session], pulls: FakePullRequests
) -> None:
    for number in range(3):
        pulls.merge(pulls.open("Change", head="change"), commit=f"{number}" * 40)
    headers = {"Host": "localhost", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/vcs"}
    with listening(settings, sessions) as client:
        client.post("/checkout").raise_for_status()
        client.headers.update(headers)
        page = client.get("/pull-requests?limit=2", headers={"Accept": "text/html"}).text
        assert client.get("/", headers={"Accept": "text/html"}).headers["Location"] == "/vcs/pull-requests"
        assert client.get("/pull-requests?limit=2").json()["next"].startswith("/vcs/pull-requests?")
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/vcs"}]
    assert 'href="/vcs/static/slipway.css"' in page
    assert 'href="/vcs/pull-requests?' in page
