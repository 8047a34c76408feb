"""GitHub is told of decisions in the transaction that makes them, where the repository is there."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from db import claims, deployments, outbox
from db.claims import Deployed
from db.models import Release
from db.outbox import CommentFacts
from db.states import Cause, Status, Trigger
from db.vcs_models import OutboxSubject

Sessions = sessionmaker[Session]


@pytest.fixture
def serve(sessions: Sessions, sessions_of: Callable[[str], Sessions]) -> Sessions:
    """As the role of the service that starts releases and rolls back, of a repository on GitHub."""
    add_pull_request(sessions, base_repository_id=1)
    return sessions_of("serve")


def add_pull_request(sessions: Sessions, base_repository_id: int | None) -> None:
    row = {"repository": "a/m", "base": base_repository_id}
    with sessions.begin() as session:
        session.execute(
            text("""
                INSERT INTO vcs.pull_requests (id, _sdc_repository, number, base_repository_id)
                VALUES (1, :repository, 1, :base)
            """),
            row,
        )


def built(sessions: Sessions, commit: str, number: int | None, status: Status = Status.PASSED) -> int:
    with sessions.begin() as session:
        release = Release(model="m", repository="a/m", commit=commit, trigger=Trigger.MERGE, artifact="a")
        release.status, release.pull_request = status, number
        session.add(release)
        session.flush()
        if number is not None:
            facts = CommentFacts("success", "it is better")
            outbox.put_comment(
                session, repository="a/m", number=number, model="m", head=commit, position=1, facts=facts
            )
        return release.id


def deploy(sessions: Sessions, release: int) -> None:
    with sessions.begin() as session:
        deployments.deploy(session, session.get_one(Release, release), who="dana", why=None)


def end(sessions: Sessions, *, live: bool = True) -> None:
    with sessions.begin() as session:
        wanted = deployments.find_wanted(session, "m")
        assert wanted is not None
        if live:
            deployments.mark_live(session, wanted)
        else:
            deployments.mark_failed(session, wanted, "it could not start")


def shown(sessions: Sessions) -> dict[int, str]:
    """The state of each release on GitHub."""
    with sessions() as session:
        rows = session.scalars(select(OutboxSubject).where(OutboxSubject.kind == "deployment"))
        return {row.facts["release"]: row.facts["state"] for row in rows}


def facts(sessions: Sessions, kind: str, name: str, value: object) -> dict[str, Any]:
    with sessions() as session:
        rows = session.scalars(select(OutboxSubject).where(OutboxSubject.kind == kind))
        return next(row.facts for row in rows if row.facts[name] == value)


def test_a_release_goes_live_on_github_and_the_one_before_ends(sessions: Sessions, serve: Sessions) -> None:
    first, second = built(sessions, "1", 11), built(sessions, "2", 12)
    deploy(serve, first)
    assert shown(sessions) == {first: "in_progress"}
    end(serve)
    assert shown(sessions) == {first: "success"}
    deploy(serve, second)
    assert shown(sessions) == {first: "success", second: "in_progress"}
    end(serve)

    assert shown(sessions) == {first: "inactive", second: "success"}
    live = facts(sessions, "deployment", "release", second)
    assert (live["environment_url"], live["log_url"]) == ("/models/m", f"/releases/{second}")


def test_a_release_that_cannot_start_leaves_live_alone(sessions: Sessions, serve: Sessions) -> None:
    first, second = built(sessions, "1", 11), built(sessions, "2", 12)
    deploy(serve, first)
    end(serve)
    deploy(serve, second)
    end(serve, live=False)
    assert shown(sessions) == {first: "success", second: "failure"}

    deploy(serve, first)
    end(serve, live=False)
    assert shown(sessions) == {first: "success", second: "failure"}


def test_a_decision_that_is_overruled_is_not_in_progress(sessions: Sessions, serve: Sessions) -> None:
    first, second = built(sessions, "1", 11), built(sessions, "2", 12)
    deploy(serve, first)
    deploy(serve, second)

    assert shown(sessions) == {first: "inactive", second: "in_progress"}


def test_a_rollback_is_said_on_the_pull_request_with_its_reason(sessions: Sessions, serve: Sessions) -> None:
    first, second = built(sessions, "1", 11), built(sessions, "2", 12)
    for release in (first, second):
        deploy(serve, release)
        end(serve)
    with serve.begin() as session:
        deployments.roll_back(session, "m", cause=Cause.ROLLBACK, who="dana", why="prices are off")
    assert "note" not in facts(sessions, "comment", "number", 12)
    end(serve)

    assert shown(sessions) == {first: "success", second: "inactive"}
    said = f"rolled back to release {first}: prices are off"
    assert said[1:] in facts(sessions, "deployment", "release", second)["description"]
    comment = facts(sessions, "comment", "number", 12)
    assert (comment["note"], comment["summary"]) == (f"Release {second} was {said}", "it is better")
    assert "note" not in facts(sessions, "comment", "number", 11)


def test_the_note_of_a_rollback_goes_when_it_is_live_again(sessions: Sessions, serve: Sessions) -> None:
    first, second = built(sessions, "1", 11), built(sessions, "2", 12)
    for release in (first, second):
        deploy(serve, release)
        end(serve)
    with serve.begin() as session:
        deployments.roll_back(session, "m", cause=Cause.ROLLBACK, who="dana", why="prices are off")
    end(serve)
    deploy(serve, second)
    end(serve)

    assert "note" not in facts(sessions, "comment", "number", 12)
    assert shown(sessions) == {first: "inactive", second: "success"}


def test_a_release_without_a_pull_request_is_shown_too(sessions: Sessions, serve: Sessions) -> None:
    first, second = built(sessions, "1", None), built(sessions, "2", None)
    for release in (first, second):
        deploy(serve, release)
        end(serve)
    with serve.begin() as session:
        deployments.roll_back(session, "m", cause=Cause.ROLLBACK, who="dana", why=None)
    end(serve)

    assert shown(sessions) == {first: "success", second: "inactive"}


@pytest.mark.parametrize("has_rows", [False, True])
def test_a_plain_git_server_has_no_deployments(
    has_rows: bool, sessions: Sessions, sessions_of: Callable[[str], Sessions]
) -> None:
    if has_rows:
        add_pull_request(sessions, base_repository_id=None)
    for commit in ("1", "2"):
        deploy(sessions_of("serve"), built(sessions, commit, None))
        end(sessions_of("serve"))

    assert shown(sessions) == {}


def test_what_the_gate_passes_is_in_progress(
    sessions: Sessions, serve: Sessions, sessions_of: Callable[[str], Sessions]
) -> None:
    number = built(sessions, "1", 11, Status.QUEUED)
    watch = sessions_of("watch")
    with watch.begin() as session:
        claim = claims.claim(session, number)
        assert claim is not None
    with watch.begin() as session:
        claims.settle(session, claim, Deployed(deployments.take_snapshot(session, "m")))

    assert shown(sessions) == {number: "in_progress"}


def test_a_decision_that_is_not_committed_is_not_told(sessions: Sessions, serve: Sessions) -> None:
    release = built(sessions, "1", 11)
    with serve() as session:
        deployments.deploy(session, session.get_one(Release, release), who="dana", why=None)
        session.rollback()

    assert shown(sessions) == {}


def test_a_model_not_followed_is_shown_as_not_served(
    serve: Sessions, sessions: Sessions, sessions_of: Callable[[str], Sessions]
) -> None:
    watch = sessions_of("watch")
    live, wanted = built(sessions, "a", None), built(sessions, "b", None)
    deploy(serve, live)
    end(serve)
    deploy(serve, wanted)
    with watch.begin() as session:
        deployments.show_unfollowed(session, ["m"])
    assert shown(sessions) == {live: "success", wanted: "in_progress"}

    with watch.begin() as session:
        deployments.show_unfollowed(session, ["other"])
    assert shown(sessions) == {live: "inactive", wanted: "inactive"}

    with serve.begin() as session:  # it is back, and so are its workers
        restored = deployments.find_live(session, "m")
        assert restored is not None
        deployments.mark_live(session, restored)
    assert shown(sessions)[live] == "success"
    end(serve)
    assert shown(sessions) == {live: "inactive", wanted: "success"}
