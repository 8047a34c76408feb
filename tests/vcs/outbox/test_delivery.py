"""What is put into the outbox comes to stand on GitHub: comments, statuses and GitHub deployments."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from resources.demo.github import FakeGitHub, FakePullRequests, GitHubFault
from tests.harness.waiting import wait_until
from tests.vcs.conftest import REPOSITORY
from tests.vcs.outbox.conftest import COMMIT, StartVcs, Told

KINDS: dict[str, Callable[[Told], None]] = {
    "/statuses/": lambda told: told.put_status(
        "SMAPE 0.135, live 0.342", state="success", target_url="/releases/41"
    ),
    "POST /repos/acme/widgets/issues": lambda told: told.put_comment("it is better"),
    "POST /repos/acme/widgets/deployments": lambda told: told.put_deployment(
        "success", environment_url="/models/iris", log_url="/releases/5"
    ),
}


def put_all(told: Told) -> None:
    for put in KINDS.values():
        put(told)


def assert_all_is_shown_once(told: Told, github: FakeGitHub) -> None:
    written = github.written
    (status,) = written.list_statuses(COMMIT)
    assert (status["state"], status["context"]) == ("success", "slipway/iris")
    assert (status["description"], status["target_url"]) == (
        "SMAPE 0.135, live 0.342",
        "https://models.example.com/releases/41",
    )
    (comment,) = told.comments()
    assert "it is better" in comment
    (deployment,) = written.deployments
    assert (deployment["sha"], deployment["environment"]) == (COMMIT, "slipway/iris")
    newest = written.list_deployment_statuses(deployment["id"])[0]
    assert (newest["state"], newest["environment_url"], newest["log_url"]) == (
        "success",
        "https://models.example.com/models/iris",
        "https://models.example.com/releases/5",
    )


def test_what_is_put_stands_on_github(told: Told, github: FakeGitHub, start_vcs: StartVcs) -> None:
    start_vcs()
    put_all(told)
    told.wait()

    assert_all_is_shown_once(told, github)
    page = httpx.get(f"{github.url}/pulls/1").text
    assert all(part in page for part in ("slipway/iris", "it is better", "<table>", "models.example.com"))


def test_a_comment_is_edited_and_an_older_heads_is_not_shown(told: Told, start_vcs: StartVcs) -> None:
    start_vcs()
    told.put_comment("first head", position=1)
    told.wait()
    told.put_comment("second head", position=2)
    told.wait()
    told.put_comment("first head, late", position=1)

    told.put_status()
    told.wait()
    (comment,) = told.comments()
    assert "second head" in comment


def test_a_quoted_marker_of_somebody_else_is_not_our_comment(
    told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    told.put_comment("ours")
    marker = f"<!-- slipway:{told.row().id} -->"
    github.written.add_comment(REPOSITORY, 1, f"{marker}\ntheirs", api=github.url, account="mallory")
    start_vcs()
    told.wait()

    assert [("theirs" in body, "ours" in body) for body in told.comments()] == [(True, False), (False, True)]


def test_a_comment_that_a_person_deleted_is_not_made_again(
    told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    start_vcs()
    told.put_comment("first", position=1)
    told.wait()
    github.written.delete_comment(told.row().github_id or 0)
    told.put_comment("second", position=2)
    told.wait("closed")
    told.put_comment("third", position=3)

    told.put_status()
    wait_until(lambda: told.row().state == "delivered", 30, "what came later is delivered")
    assert told.comments() == []
    assert told.problem() is None


@pytest.mark.parametrize("how", ["closed", "locked", "said so"])
def test_no_comment_is_begun_where_nobody_should(
    how: str, told: Told, pulls: FakePullRequests, start_vcs: StartVcs
) -> None:
    while how == "locked" and len(pulls.list_pulls()) < 9:
        pulls.open("another", head="another")  # the stand-in's ninth is locked
    number = 9 if how == "locked" else 1
    if how == "closed":
        pulls.close(1)
    start_vcs()
    told.put_comment("late", number=number, is_open=how != "said so")
    told.wait("refused")

    assert told.comments(number) == []
    assert told.writes() == []
    assert told.problem() is None


def test_a_comment_of_a_closed_pull_request_is_still_edited(
    told: Told, pulls: FakePullRequests, start_vcs: StartVcs
) -> None:
    start_vcs()
    told.put_comment("first", position=1)
    told.wait()
    pulls.merge(1)
    told.put_comment("rolled back", position=2, is_open=False)
    told.wait()

    assert "rolled back" in told.comments()[0]


NAMES = {
    "POST /repos/acme/widgets/statuses/": ("status", "commit statuses"),
    "POST /repos/acme/widgets/issues": ("comment", "comments of pull requests"),
    "POST /repos/acme/widgets/deployments": ("deployment", "GitHub deployments"),
    "GET /repos/acme/widgets/deployments": ("deployment", "GitHub deployments"),
    "POST /repos/acme/widgets/deployments/": ("deployment", "GitHub deployments"),
}
WAYS = [
    *((match, "forbidden", "write access") for match in NAMES),
    ("POST /repos/acme/widgets/statuses/", "not-found", "write access"),
    ("POST /repos/acme/widgets/statuses/", "validation", "does not take"),
]


@pytest.mark.parametrize("match, kind, part", WAYS)
def test_a_missing_permission_is_said_once_and_others_go_on(
    *,
    match: str,
    kind: Any,
    part: str,
    told: Told,
    github: FakeGitHub,
    pulls: FakePullRequests,
    start_vcs: StartVcs,
) -> None:
    pulls.open("Another", head="another")
    github.write_faults.arm(GitHubFault(kind, match=match))
    for number in (1, 2):  # the second is refused too, and said no second time
        told.put_status(model=f"iris-{number}")
        told.put_comment("it is better", number=number)
        told.put_deployment(release=number)
    start_vcs()
    refused, name = NAMES[match]
    wanted = {"status": "delivered", "comment": "delivered", "deployment": "delivered", refused: "refused"}
    wait_until(
        lambda: all(row.state == wanted[row.kind] for row in told.rows()), 30, "what may be is written"
    )

    problem = wait_until(told.problem, 30, "the overview has it")
    assert problem.count(part) == 1
    assert f"{name} in acme/widgets" in problem
    tried = len(told.writes())
    told.put_status("again") if refused == "comment" else told.put_comment("again", position=2)
    wait_until(lambda: told.writes()[tried:], 30, "the others go on")
    wait_until(lambda: all(row.state == wanted[row.kind] for row in told.rows()), 30, "and are written")
    assert len(told.writes()) == tried + 1


def test_another_token_is_tried_at_once(told: Told, github: FakeGitHub, start_vcs: StartVcs) -> None:
    github.token = "another"
    told.put_status()
    first = start_vcs()
    told.wait("refused")
    wait_until(lambda: "GITHUB_TOKEN" in (told.problem() or ""), 30, "the overview has it")
    first.kill()
    first.wait()

    start_vcs(GITHUB_TOKEN="another")
    told.wait()
    wait_until(lambda: told.problem() is None, 30, "the overview is clear again")


def test_writes_are_a_second_apart(told: Told, github: FakeGitHub, start_vcs: StartVcs) -> None:
    for number in range(4):
        told.put_status(model=f"model-{number}")
    start_vcs()
    told.wait()

    moments = sorted(status["created_at"] for status in github.written.list_statuses(COMMIT))
    assert len(set(moments)) >= 3  # GitHub's times are whole seconds


def test_without_a_token_nothing_is_written(
    told: Told, variables: dict[str, str], start_vcs: StartVcs
) -> None:
    told.put_status()
    start_vcs(GITHUB_TOKEN="")
    wait_until(lambda: is_healthy(variables), 30, "vcs answers")

    assert told.writes() == []
    assert told.row().attempts == 0


def is_healthy(variables: dict[str, str]) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{variables['VCS_PORT']}/health").status_code == 200
    except httpx.TransportError:
        return False


def test_what_was_begun_ends_when_its_repository_is_not_followed(
    told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    first = start_vcs()
    told.put_status("trains")
    told.wait()
    first.kill()
    first.wait()
    told.put_status("Slipway does not follow this model any more", state="error")
    told.put_status("nothing of it was there", model="prices", state="error")

    start_vcs(SLIPWAY_REPOSITORY="acme/other")
    wait_until(lambda: told.rows()[0].state == "delivered", 60, "the end is written")
    assert [one["state"] for one in github.written.list_statuses(COMMIT)] == ["error"]
    assert told.rows()[1].state == "pending"
