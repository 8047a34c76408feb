"""Who may nudge, what is remembered of it, and that it does no more than nudge."""

import hashlib
import hmac
import json
import socket
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from common.system.backoff import Backoff
from db.vcs_models import Delivery
from resources.demo.github import FakeGitHub, FakePullRequests, GitHubFault
from tests.harness.waiting import wait_until
from tests.vcs.conftest import REPOSITORY, SECRET, SettingsOf, listening

BODY = json.dumps({"action": "closed", "repository": {"full_name": REPOSITORY}}).encode()


def headers(body: bytes, secret: str = SECRET, **others: str) -> dict[str, str]:
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    usual = {"event": "pull_request", "delivery": "72d3162e", "signature": signature} | others
    return {
        "X-GitHub-Event": usual["event"],
        "X-GitHub-Delivery": usual["delivery"],
        "X-Hub-Signature-256": usual["signature"],
        "Content-Type": "application/json",
    }


def deliver(client: httpx.Client, body: bytes = BODY, **others: str) -> httpx.Response:
    return client.post("/webhook", content=body, headers=headers(body, **others))


@pytest.mark.parametrize("event", ["pull_request", "push"])
def test_a_delivery_makes_vcs_ask_github(
    event: str, client: httpx.Client, github: FakeGitHub, pulls: FakePullRequests
) -> None:
    pulls.merge(pulls.open("Use the weekday", head="a"))

    answer = deliver(client, event=event)

    assert (answer.status_code, answer.json()) == (202, {"message": "a sync is triggered"})
    wait_until(lambda: client.get("/pull-requests").json()["pull_requests"], 20, "the pull request comes")
    assert len(github.log) == 1


def test_what_the_payload_claims_is_not_believed(client: httpx.Client, github: FakeGitHub) -> None:
    claim = {"action": "closed", "number": 7, "pull_request": {"merged": True, "merge_commit_sha": "bad"}}
    deliver(client, json.dumps({**claim, "repository": {"full_name": REPOSITORY}}).encode())

    wait_until(lambda: client.get("/health").json()["last_sync"] == "ok", 20, "a sync")
    assert client.get("/pull-requests?state=all").json()["pull_requests"] == []


def test_a_delivery_counts_once(client: httpx.Client, github: FakeGitHub) -> None:
    assert deliver(client).status_code == 202
    wait_until(lambda: client.get("/health").json()["last_sync"] == "ok", 20, "a sync")

    again = deliver(client)

    assert (again.status_code, again.json()) == (200, {"message": "seen already"})
    assert len(github.log) == 1


def test_a_delivery_whose_sync_fails_is_tried_again(
    client: httpx.Client, github: FakeGitHub, pulls: FakePullRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcs.sync_thread.RETRY_BACKOFF", Backoff(0.1, 0.1))
    pulls.merge(pulls.open("Use the weekday", head="a"))
    github.faults.arm(GitHubFault("forbidden"))
    assert deliver(client).status_code == 202
    wait_until(lambda: len(github.log) > 2, 30, "two syncs more")
    github.faults.arm(None)

    wait_until(lambda: client.get("/pull-requests").json()["pull_requests"], 30, "the pull request comes")


def test_a_delivery_without_its_sync_is_made_good_at_the_start(
    settings_of: SettingsOf, sessions: sessionmaker[Session], github: FakeGitHub, pulls: FakePullRequests
) -> None:
    pulls.merge(pulls.open("Use the weekday", head="a"))
    github.faults.arm(GitHubFault("forbidden"))
    with listening(settings_of(), sessions) as client:
        deliver(client)
        wait_until(lambda: github.log, 30, "a sync")
    github.faults.arm(None)

    with listening(settings_of(), sessions) as client:
        wait_until(lambda: client.get("/pull-requests").json()["pull_requests"], 30, "the pull request comes")
        github.log.clear()
    with listening(settings_of(), sessions) as client:
        assert client.get("/health").json()["last_sync"] == "none yet"
    assert github.log == []


def test_a_delivery_is_remembered_over_a_restart(
    settings_of: SettingsOf, sessions: sessionmaker[Session]
) -> None:
    def is_stored() -> bool:
        with sessions.begin() as session:
            return session.scalar(select(Delivery.id)) is not None

    for expected in (202, 200):
        with listening(settings_of(), sessions) as client:
            assert deliver(client).status_code == expected
            wait_until(is_stored, 20, "the delivery is stored")


def test_a_ping_is_answered(client: httpx.Client, github: FakeGitHub) -> None:
    assert deliver(client, event="ping").json() == {"message": "pong"}
    assert github.log == []


@pytest.mark.parametrize(
    ("body", "event", "said"),
    [
        (BODY, "issues", "nothing to do for issues"),
        (BODY.replace(b"widgets", b"gadgets"), "push", f"this appliance follows {REPOSITORY}"),
        (b'{"zen": "no repository"}', "push", f"this appliance follows {REPOSITORY}"),
    ],
)
def test_what_is_not_ours_is_ignored_politely(
    body: bytes, event: str, said: str, client: httpx.Client, github: FakeGitHub
) -> None:
    answer = deliver(client, body, event=event)

    assert answer.status_code == 202
    assert said in answer.json()["message"]
    assert github.log == []


def test_a_form_is_understood_too(client: httpx.Client) -> None:
    body = urlencode({"payload": BODY.decode()}).encode()

    assert deliver(client, body).json() == {"message": "a sync is triggered"}


@pytest.mark.parametrize("signature", ["", "sha256=", "sha256=" + "0" * 64, "sha1=abc", "sha256=ÿ"])
def test_a_wrong_signature_is_refused(signature: str, client: httpx.Client, github: FakeGitHub) -> None:
    wrong: dict[str, Any] = headers(BODY) | {"X-Hub-Signature-256": signature.encode("latin-1")}
    answer = client.post("/webhook", content=BODY, headers=wrong)

    assert answer.status_code == 401
    assert "SLIPWAY_WEBHOOK_SECRET" in answer.json()["detail"]
    assert SECRET not in answer.text
    assert github.log == []


def test_the_signature_is_of_the_raw_body(client: httpx.Client) -> None:
    answer = client.post("/webhook", content=BODY + b" ", headers=headers(BODY))

    assert answer.status_code == 401


def test_without_a_signature_nothing_is_taken(client: httpx.Client) -> None:
    assert client.post("/webhook", content=BODY).status_code == 401


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_signed_body_that_is_no_object(body: bytes, client: httpx.Client) -> None:
    answer = deliver(client, body)

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_what_is_no_delivery_of_githubs(client: httpx.Client) -> None:
    assert deliver(client, delivery="").status_code == 400


def test_without_a_secret_webhooks_are_refused(
    settings_of: SettingsOf, sessions: sessionmaker[Session]
) -> None:
    with listening(settings_of(webhook_secret=""), sessions) as client:
        answer = client.post("/webhook", content=BODY, headers=headers(BODY, secret=""))

    assert answer.status_code == 503
    assert "SLIPWAY_WEBHOOK_SECRET is not set" in answer.json()["detail"]


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_a_large_body_is_refused_before_it_is_read(announced: bool, client: httpx.Client) -> None:
    """More than the sockets hold, so that an answer means that the rest was not waited for."""
    where = client.base_url
    length = "Content-Length: 1000000000" if announced else "Transfer-Encoding: chunked"
    with socket.create_connection((where.host, where.port), timeout=30) as connection:
        connection.sendall(f"POST /webhook HTTP/1.1\r\nHost: {where.host}\r\n{length}\r\n\r\n".encode())
        if not announced:
            for _ in range(17):
                connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        answer = connection.recv(65536)

    assert b" 413 " in answer.split(b"\r\n", maxsplit=1)[0]


def test_a_body_shorter_than_announced_is_no_delivery(client: httpx.Client, github: FakeGitHub) -> None:
    where = client.base_url
    with socket.create_connection((where.host, where.port), timeout=30) as connection:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers(BODY).items())
        announced = f"Content-Length: {len(BODY) + 10}\r\n"
        connection.sendall(
            f"POST /webhook HTTP/1.1\r\nHost: localhost\r\n{announced}{head}\r\n".encode() + BODY
        )

    assert client.get("/health").status_code == 200
    assert github.log == []


def test_a_database_that_hangs_delays_no_answer(
    client: httpx.Client, github: FakeGitHub, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        session.execute(text("LOCK TABLE vcs.deliveries IN ACCESS EXCLUSIVE MODE"))
        answers = [deliver(client, delivery=str(number)) for number in range(3)]

    assert [answer.status_code for answer in answers] == [202, 202, 202]


def queue_events(sessions: sessionmaker[Session]) -> list[str]:
    with sessions.begin() as session:
        return list(session.scalars(text("SELECT repository FROM vcs.merge_queues")))


def test_a_merge_group_is_stored_once_for_its_repository(
    client: httpx.Client, sessions: sessionmaker[Session]
) -> None:
    group = {"head_sha": "bad", "head_ref": "refs/heads/gh-readonly-queue/main/pr-7-bad"}
    body = {"action": "checks_requested", "merge_group": group, "repository": {"full_name": REPOSITORY}}
    document = json.dumps(body).encode()
    assert deliver(client, document.replace(b"widgets", b"gadgets"), event="merge_group").status_code == 202
    assert queue_events(sessions) == []

    assert deliver(client, document, event="merge_group").status_code == 202
    wait_until(lambda: queue_events(sessions) == [REPOSITORY], 20, "the queue is known to have changed")
    with sessions.begin() as session:
        first = session.scalar(text("SELECT told_at FROM vcs.merge_queues"))
    assert deliver(client, document, event="merge_group").json() == {"message": "seen already"}
    with sessions.begin() as session:
        assert session.scalar(text("SELECT told_at FROM vcs.merge_queues")) == first
    assert deliver(client, document, event="merge_group", delivery="another").status_code == 202
    with sessions.begin() as session:
        wait_until(
            lambda: session.scalar(text("SELECT told_at > :first FROM vcs.merge_queues"), {"first": first}),
            20,
            "a later event is stored",
        )


@pytest.mark.parametrize("signature", ["", "sha256=" + "0" * 64])
def test_a_forged_merge_group_changes_nothing(
    signature: str, client: httpx.Client, sessions: sessionmaker[Session], github: FakeGitHub
) -> None:
    forged = headers(BODY, event="merge_group", signature=signature)
    assert client.post("/webhook", content=BODY, headers=forged).status_code == 401
    assert queue_events(sessions) == []
    assert github.log == []
