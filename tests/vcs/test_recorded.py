"""What GitHub really sends: documents that were recorded, and the stand-in's, which are as rich."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db.vcs_models import PullRequest
from resources.demo.github import FakeGitHub, FakePullRequests
from resources.demo.github.documents import encode_pulls
from resources.demo.github.pulls import generate_pulls
from tests.vcs.conftest import REPOSITORY
from vcs.singer import CATALOG_PATH
from vcs.sync import PullRequestSync

Json = dict[str, Any]

RECORDED: list[Json] = json.loads((Path(__file__).parent / "recorded" / "pull-requests.json").read_text())
ALWAYS_NULL = ("auto_merge", "active_lock_reason")  # in what was recorded; `fill` has both
OF_ONE_ALONE = """
    merged mergeable rebaseable mergeable_state merged_by comments review_comments maintainer_can_modify
    commits additions deletions changed_files
"""  # what GitHub adds when one pull request is asked for


def stored(sessions: sessionmaker[Session]) -> list[PullRequest]:
    with sessions() as session:
        return list(session.scalars(select(PullRequest).order_by(PullRequest.number)))


def test_recorded_documents_are_brought(
    sync: PullRequestSync, pulls: FakePullRequests, sessions: sessionmaker[Session]
) -> None:
    for number, document in enumerate(RECORDED, start=1):
        pulls.open("In its place comes what was recorded", head="a")
        pulls.touch(number, wrong={**document, "id": number, "number": number})

    assert sync.run().rows == len(RECORDED)
    for found, document in zip(stored(sessions), RECORDED, strict=True):
        assert found.title == document["title"]
        assert found.user_login == document["user"]["login"]
        assert found.head_sha == document["head"]["sha"]
        assert found.merge_commit_sha == document["merge_commit_sha"]


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": [{"name": "bug"}, {"name": "nul \x00"}]},
        {"labels": "bug"},
        {"milestone": {"title": 7}, "assignees": None, "locked": "maybe", "auto_merge": []},
        {"user": None, "body": None, "assignee": None, "requested_reviewers": [None]},
        {"head": {"label": "unknown", "ref": "gone", "sha": "abc", "user": None, "repo": None}},
        {"head": None},
    ],
    ids=" ".join,
)
def test_what_is_not_read_stops_no_sync(fields: Json, sync: PullRequestSync, pulls: FakePullRequests) -> None:
    pulls.merge(pulls.open("Odd", head="a"))
    pulls.touch(1, wrong=fields)

    found = sync.run()

    assert (found.rows, found.newly_accepted) == (1, 1)


def test_only_columns_that_are_read_are_brought() -> None:
    schema = json.loads(CATALOG_PATH.read_text())["streams"][0]["schema"]

    assert set(schema["properties"]) == set(PullRequest.__table__.columns.keys())


def test_the_stand_in_is_as_rich_as_what_was_recorded(github: FakeGitHub, pulls: FakePullRequests) -> None:
    generate_pulls(pulls, 200)
    ours = json.loads(encode_pulls(REPOSITORY, pulls.list_pulls(), github.url))

    missing = places(RECORDED) - places(ours)
    assert not {place for place in missing if place.split(".")[1] not in OF_ONE_ALONE.split()}
    for name in ALWAYS_NULL:
        assert {pull[name] is None for pull in ours} == {True, False}
    assert [pull for pull in ours if pull["user"] is None]
    assert [pull for pull in ours if pull["head"]["repo"] is None]
    assert {pull["draft"] for pull in ours} == {True, False}


def places(value: Any, path: str = "") -> set[str]:
    """The names in a document, each with those above it: `.head.repo.owner.login`."""
    if isinstance(value, dict):
        return {place for name, inner in value.items() for place in places(inner, f"{path}.{name}")} | {path}
    if isinstance(value, list):
        return {place for inner in value for place in places(inner, path)}
    return {path}
