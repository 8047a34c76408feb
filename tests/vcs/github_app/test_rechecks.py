"""Re-run at GitHub queues the check again, once, of our own check runs and of what may be built alone."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from db import appliance, check_runs, checks, outbox_delivery
from db.models import Release
from db.outbox import CommentFacts
from db.outbox_subjects import CommitOf
from db.states import OutboxState, Status
from db.vcs_models import OutboxSubject, RecheckRequest
from ml.controller import checks as controller
from ml.settings import MlSettings, ModelConfig
from tests.vcs.conftest import REPOSITORY, listening
from tests.vcs.github_app.conftest import APP_ID
from tests.vcs.test_webhook import headers
from vcs.settings import VcsSettings

HEAD, OTHER = "a" * 40, "b" * 40
MODEL = "widgets"
Sessions = sessionmaker[Session]


@pytest.fixture
def client(settings: VcsSettings, own_sessions: Sessions) -> Iterator[httpx.Client]:
    with listening(settings, own_sessions) as made:
        yield made


@pytest.fixture
def watch(sessions_of: Callable[[str], Sessions]) -> Sessions:
    return sessions_of("watch")


@pytest.fixture
def model(url_of: Callable[[str], str]) -> ModelConfig:
    (found,) = MlSettings(DATABASE_URL=url_of("watch"), SLIPWAY_REPOSITORY=REPOSITORY).list_models()
    assert found.name == MODEL
    return found


def press(
    client: httpx.Client, delivery: str = "one", event: str = "check_run", **changes: Any
) -> httpx.Response:
    """Send what GitHub sends for a pressed button."""
    about = {
        "id": 4,
        "name": f"slipway/{MODEL}",
        "head_sha": HEAD,
        "status": "completed",
        "app": {"id": APP_ID, "slug": "slipway-of-acme"},
        "external_id": "x:41",
    }
    action = changes.pop("action", "rerequested")
    repository = changes.pop("repository", REPOSITORY)
    payload = {
        "action": action,
        event: about | changes,
        "repository": {"full_name": repository},
        "installation": {"id": 1},
        "sender": {"login": "ada"},
    }
    body = json.dumps(payload).encode()
    return client.post("/webhook", content=body, headers=headers(body, event=event, delivery=delivery))


def requests(sessions: Sessions) -> list[tuple[str, str, str]]:
    with sessions() as session:
        return [(row.repository, row.commit, row.model) for row in session.scalars(select(RecheckRequest))]


def show_pull(sessions: Sessions, **changes: Any) -> None:
    row = {"id": 1, "number": 1, "head_sha": HEAD, "state": "open", "draft": False, "base_ref": "main"}
    row |= {"head_repository_id": 1, "base_repository_id": 1} | changes
    names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    with sessions.begin() as session:
        session.execute(
            text(
                f"INSERT INTO vcs.pull_requests (_sdc_repository, {names}) VALUES ('{REPOSITORY}', {values})"
            ),
            row,
        )


def reconcile(watch: Sessions, model: ModelConfig) -> None:
    with watch.begin() as session:
        controller.queue_checks(session, model)
        controller.queue_requested(session, model)


def put_ended(sessions: Sessions) -> UUID:
    """Have the check run of the head delivered, in its last state; return its subject."""
    with sessions.begin() as session:
        appliance.set_mode(session, "repository")
        appliance.set_app(session, is_set=True)
        ended = CommentFacts("error", "ended")
        commit = CommitOf(repository=REPOSITORY, commit=HEAD, model=MODEL)
        check_runs.put_check_run(session, **commit, check=0, state="cancelled", facts=ended)
        subject = outbox_delivery.claim_due(session, [REPOSITORY], 60)
        assert subject is not None
        outbox_delivery.settle(session, subject, OutboxState.DELIVERED)
        return subject.id


def states(sessions: Sessions) -> list[Status]:
    with sessions() as session:
        return [release.status for release in session.scalars(select(Release).order_by(Release.id))]


def end_checks(sessions: Sessions) -> None:
    with sessions.begin() as session:
        for release in session.scalars(select(Release)):
            release.status = Status.REJECTED


@pytest.mark.parametrize(
    "pressed",
    [("check_run", "rerequested"), ("check_run", "requested_action"), ("check_suite", "rerequested")],
)
def test_a_pressed_button_queues_the_check_again_once(
    pressed: tuple[str, str], client: httpx.Client, sessions: Sessions, watch: Sessions, model: ModelConfig
) -> None:
    event, action = pressed
    show_pull(sessions)
    reconcile(watch, model)
    end_checks(sessions)

    assert press(client, event=event, action=action).json() == {"message": "it is checked again"}
    assert press(client, event=event, action=action).json() == {"message": "seen already"}
    assert press(client, "two", event=event, action=action).status_code == 202
    assert requests(sessions) == [(REPOSITORY, HEAD, MODEL)]

    reconcile(watch, model)
    reconcile(watch, model)
    assert states(sessions) == [Status.REJECTED, Status.QUEUED]
    assert requests(sessions) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "created"},
        {"action": ["rerequested"]},
        {"app": {"id": APP_ID + 1}},
        {"app": None},
        {"app": {"id": str(APP_ID)}},
        {"name": "slipway/other"},
        {"name": MODEL},
        {"name": None},
        {"repository": "acme/other"},
        {"repository": ["acme/widgets"]},
        {"head_sha": "main"},
        {"head_sha": HEAD + "\n"},
        {"head_sha": None},
        {"head_sha": {"$": 1}},
    ],
)
def test_anything_else_asks_for_nothing(
    changes: dict[str, Any], client: httpx.Client, sessions: Sessions
) -> None:
    assert press(client, **changes).status_code == 202
    assert requests(sessions) == []


def test_a_request_that_is_not_signed_is_refused(client: httpx.Client, sessions: Sessions) -> None:
    body = json.dumps({"action": "rerequested"}).encode()
    wrong = headers(body, secret="another secret", event="check_run")
    assert client.post("/webhook", content=body, headers=wrong).status_code == 401
    for about in ([], "x", None):
        body = json.dumps({"action": "rerequested", "check_run": about}).encode()
        answer = client.post("/webhook", content=body, headers=headers(body, event="check_run"))
        assert answer.status_code == 202
    assert requests(sessions) == []


@pytest.mark.parametrize(
    "pull",
    [
        {"head_sha": OTHER},
        {"state": "closed"},
        {"draft": True},
        {"head_repository_id": 2},
        {"head_repository_id": None},
        {"base_ref": "other"},
    ],
)
def test_what_may_not_be_built_is_not_queued(
    pull: dict[str, Any], client: httpx.Client, sessions: Sessions, watch: Sessions, model: ModelConfig
) -> None:
    show_pull(sessions, **pull)
    before = put_ended(sessions)
    press(client)
    reconcile(watch, model)

    assert requests(sessions) == []
    with sessions() as session:
        shown = session.scalars(select(OutboxSubject).where(OutboxSubject.id == before)).one()
        assert (shown.state, shown.version > 1) == ("pending", True)  # GitHub has withdrawn its conclusion
        assert [
            release.commit for release in session.scalars(select(Release)) if release.commit == HEAD
        ] == []


def test_an_approved_fork_is_checked_again(
    client: httpx.Client, sessions: Sessions, watch: Sessions, model: ModelConfig
) -> None:
    show_pull(sessions, head_repository_id=2)
    with sessions.begin() as session:
        pulls = checks.list_open(session, REPOSITORY, "main")
        checks.approve(session, MODEL, 1, HEAD, pulls=pulls, who="ada")
    reconcile(watch, model)
    end_checks(sessions)
    press(client)
    reconcile(watch, model)
    assert states(sessions) == [Status.REJECTED, Status.QUEUED]


def test_an_old_request_is_dropped(
    client: httpx.Client, sessions: Sessions, watch: Sessions, model: ModelConfig
) -> None:
    show_pull(sessions)
    reconcile(watch, model)
    end_checks(sessions)
    press(client)
    with sessions.begin() as session:
        session.execute(text("UPDATE vcs.recheck_requests SET requested_at = now() - interval '2 hours'"))
    reconcile(watch, model)
    assert (states(sessions), requests(sessions)) == ([Status.REJECTED], [])
