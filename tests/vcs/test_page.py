"""The pull requests for people: what became of each, and foreign titles as text."""

from datetime import UTC, datetime

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from db.models import PullRequest, Release, Status
from tests.vcs.conftest import REPOSITORY
from vcs.app import create
from vcs.settings import VcsSettings

EVIL = "<script>alert(1)</script>"


def test_what_became_of_each_is_on_the_page(settings: VcsSettings, sessions: sessionmaker[Session]) -> None:
    merged = datetime(2026, 1, 1, tzinfo=UTC)
    with sessions.begin() as session:
        facts = {"repository": REPOSITORY, "base_ref": "main", "state": "closed", "merged_at": merged}
        for number, commit in ((1, "a" * 40), (2, "b" * 40)):
            session.add(PullRequest(id=number, number=number, merge_commit_sha=commit, title=EVIL, **facts))
        rejected = {"status": Status.REJECTED, "reason": "train() raised KeyError"}
        session.add(Release(model="m", repository=REPOSITORY, commit="a" * 40, **rejected))
    client = TestClient(create(settings, sessions))  # no lifespan: nothing syncs

    page = client.get("/pull-requests", headers={"Accept": "text/html"})
    rows = client.get("/pull-requests").json()["pull_requests"]

    assert "train() raised KeyError" in page.text
    assert "not built" in page.text
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert [row["release"] and row["release"]["status"] for row in rows] == [None, "rejected"]
    assert client.get("/static/slipway.css").status_code == 200
