"""The stand-in's merge queue: groups in git, webhooks that are signed, a merge once the status has passed."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from resources.demo.demo_github import REPOSITORY_NAME, DemoPullRequests
from resources.demo.github.webhooks import WebhookSender
from resources.demo.pull_requests import make_proposal
from resources.demo.repository import START_TIME
from resources.demo.server import DemoServer, create_demo_server
from tests.harness.waiting import wait_until

SECRET = "of-the-tests"
Delivery = tuple[str, dict[str, Any], bool]  # its event, its payload, and whether its signature is right


class Receiver(HTTPServer):
    deliveries: list[Delivery]


class ReceiverHandler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        right = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        is_right = self.headers["X-Hub-Signature-256"] == right and bool(self.headers["X-GitHub-Delivery"])
        self.server.deliveries.append((self.headers["X-GitHub-Event"], json.loads(body), is_right))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def deliveries() -> Iterator[tuple[str, list[Delivery]]]:
    with Receiver(("127.0.0.1", 0), ReceiverHandler) as server:
        server.deliveries = []
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/webhook", server.deliveries
        server.shutdown()


@pytest.fixture
def demo(tmp_path: Path, deliveries: tuple[str, list[Delivery]]) -> Iterator[DemoServer]:
    desk = DemoPullRequests(tmp_path / "demo", WebhookSender(deliveries[0], SECRET))
    with create_demo_server(desk) as demo:
        yield demo


def call(demo: DemoServer, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(demo.url + path, data)) as answer:
        return json.load(answer)


def queue(demo: DemoServer, number: int | None = None) -> Any:
    return call(demo, "/_control/queue", {} if number is None else {"number": number})


def report(demo: DemoServer, commit: str, state: str) -> None:
    body = {"state": state, "context": "slipway/m", "description": "as it is"}
    call(demo, f"/repos/{REPOSITORY_NAME}/statuses/{commit}", body)


def git(demo: DemoServer, *arguments: str) -> str:
    return demo.desk.repository.run_git(demo.bare_path, *arguments)


def list_branches(demo: DemoServer) -> list[str]:
    return git(demo, "for-each-ref", "--format=%(refname:short)", "refs/heads/gh-readonly-queue").split()


def test_a_group_appears_in_git_and_is_announced(
    demo: DemoServer, deliveries: tuple[str, list[Delivery]]
) -> None:
    tip = git(demo, "rev-parse", "main")
    queued = queue(demo, 2)
    assert list_branches(demo) == [queued["branch"]] == [f"gh-readonly-queue/main/pr-2-{tip}"]
    assert git(demo, "rev-parse", f"{queued['group']}^1") == tip
    assert queue(demo, 2)["group"] == queued["group"]

    wait_until(lambda: deliveries[1], 20, "the webhook comes")
    ((event, payload, is_signed),) = deliveries[1]
    assert (event, payload["action"], is_signed) == ("merge_group", "checks_requested", True)
    assert payload["repository"]["full_name"] == REPOSITORY_NAME
    group = payload["merge_group"]
    assert (group["head_sha"], group["base_sha"]) == (queued["group"], tip)
    assert group["head_ref"] == f"refs/heads/{queued['branch']}"
    assert group["head_commit"]["tree_id"] == git(demo, "rev-parse", f"{queued['group']}^{{tree}}")


def test_it_is_merged_when_its_status_passes(
    demo: DemoServer, deliveries: tuple[str, list[Delivery]]
) -> None:
    group = queue(demo)["group"]
    report(demo, group, "pending")
    assert list_branches(demo)
    report(demo, group, "success")
    wait_until(lambda: not list_branches(demo), 20, "the group is merged")
    assert git(demo, "rev-parse", "main") == group
    pull = call(demo, f"/repos/{REPOSITORY_NAME}/pulls/2")
    assert pull["merged_at"] and pull["merge_commit_sha"] == group
    wait_until(lambda: len(deliveries[1]) == 2, 20, "the second webhook comes")
    assert [payload.get("reason") for _, payload, _ in deliveries[1]] == [None, "merged"]


def test_a_failed_entry_leaves_the_queue_and_others_move_up(demo: DemoServer) -> None:
    first = queue(demo, 2)
    with pytest.raises(HTTPError, match="409"):  # the prepared ones change the same lines
        queue(demo, 3)
    head = demo.desk.repository.push_proposal(replace(make_proposal(3), parameters={}), START_TIME)
    git(demo, "branch", "--force", make_proposal(3).branch, head)
    second = queue(demo, 3)
    assert git(demo, "rev-parse", f"{second['group']}^1") == first["group"]
    report(demo, first["group"], "failure")
    tip = git(demo, "rev-parse", "main")
    wait_until(lambda: list_branches(demo) == [f"gh-readonly-queue/main/pr-3-{tip}"], 20, "it is made again")
    assert call(demo, f"/repos/{REPOSITORY_NAME}/pulls/2")["state"] == "open"


def test_a_merge_past_the_queue_makes_its_groups_again(demo: DemoServer) -> None:
    old = queue(demo, 2)
    call(demo, "/_control/merge", {"number": 4})
    tip = git(demo, "rev-parse", "main")
    assert list_branches(demo) == [f"gh-readonly-queue/main/pr-2-{tip}"] != [old["branch"]]


def test_what_is_merged_already_cannot_be_queued(demo: DemoServer) -> None:
    with pytest.raises(HTTPError) as refused:
        queue(demo, 1)
    assert refused.value.code == 409
    assert json.load(refused.value)["message"] == "#1 is not open"
