"""Check runs: one a commit and model, as the check was last, with its table, its annotations and a button."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db import appliance, check_runs, merge_groups
from db.check_runs import Annotation
from db.checks import NOBODY
from db.merge_groups import ExaminedGroup, MergeGroup
from db.outbox import CommentFacts, MetricChange
from resources.demo.github import FakeApp, FakeGitHub, GitHubFault
from tests.harness import plain_http
from tests.harness.waiting import wait_until
from tests.vcs.conftest import REPOSITORY
from tests.vcs.outbox.conftest import COMMIT, StartVcs, Told
from vcs.outbox.check_run import NO_ANNOTATIONS, NO_REPORT

CREATE, UPDATE, LIST = "POST /repos/acme/widgets/check-runs", "PATCH ", "GET /repos/acme/widgets/commits"


@pytest.fixture
def with_app(sessions: sessionmaker[Session]) -> Iterator[None]:
    """As `vcs` has it from its start on."""
    with sessions.begin() as session:
        appliance.set_mode(session, "repository")
        appliance.set_app(session, is_set=True)
    yield


def put(told: Told, state: Any, summary: str = "trains", check: int = 41, **more: Any) -> None:
    facts = CommentFacts("pending", summary, [MetricChange("smape", 0.1, 0.3)], details_url="/releases/41")
    with told.sessions.begin() as session:
        check_runs.put_check_run(
            session,
            repository=REPOSITORY,
            commit=COMMIT,
            model="iris",
            check=check,
            state=state,
            facts=facts,
            **more,
        )


def runs(github: FakeGitHub) -> list[dict[str, Any]]:
    return github.written.check_runs


def deliver(told: Told) -> None:
    def is_delivered() -> bool:
        told.make_due()
        return {row.state for row in told.rows()} == {"delivered"}

    wait_until(is_delivered, 60, "all is delivered")


@pytest.mark.usefixtures("with_app")
def test_a_check_has_one_check_run_from_its_queue_to_its_end(
    told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    start_vcs()
    for state in ("queued", "in_progress"):
        put(told, state)
        deliver(told)
        assert [run["status"] for run in runs(github)] == [state]
    put(told, "failure", "SMAPE 0.1", annotations=[Annotation("main.py", 3, "ValueError: no rows")])
    deliver(told)

    (run,) = runs(github)
    assert (run["name"], run["head_sha"], run["conclusion"]) == ("slipway/iris", COMMIT, "failure")
    assert run["output"]["title"] == "SMAPE 0.1"
    assert "| `smape` | 0.1 | 0.3 |" in run["output"]["summary"]
    assert run["details_url"] == "https://models.example.com/releases/41"
    assert [(one["path"], one["start_line"], one["message"]) for one in run["annotations"]] == [
        ("main.py", 3, "ValueError: no rows")
    ]
    assert [action["identifier"] for action in run["actions"]] == ["recheck"]
    page = plain_http.get(f"{github.url}/pulls/1").text
    assert "slipway/iris" in page
    assert "main.py:3 ValueError: no rows" in page


@pytest.mark.usefixtures("with_app")
def test_the_check_run_of_a_refused_merge_group_fails(
    told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    group = MergeGroup(f"gh-readonly-queue/main/pr-7-{'b' * 40}", COMMIT, 7)
    examined = ExaminedGroup(group, "tree", "b" * 40, is_on_tip=True, is_recent=False, members=None)
    with told.sessions.begin() as session:
        session.execute(
            text("""
                INSERT INTO vcs.pull_requests (id, _sdc_repository, number, state, base_ref, head_sha)
                VALUES (7, :repository, 7, 'open', 'main', 'head')
            """),
            {"repository": REPOSITORY},
        )
        about = {"repository": REPOSITORY, "branch": "main", "trust": NOBODY}
        assert merge_groups.queue_groups(session, "iris", [examined], **about) == []
    start_vcs()
    deliver(told)
    (run,) = runs(github)
    assert (run["head_sha"], run["status"], run["conclusion"]) == (COMMIT, "completed", "failure")
    assert run["output"]["title"] == merge_groups.UNPROVEN
    assert [row.facts["state"] for row in told.rows() if row.kind == "status"] == ["error"]


@pytest.mark.usefixtures("with_app")
def test_annotations_of_an_earlier_check_do_not_stay(
    told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    start_vcs()
    put(told, "failure", annotations=[Annotation("main.py", 3, "ValueError")])
    deliver(told)
    put(
        told,
        "failure",
        "the same again, in other words",
        annotations=[Annotation("main.py", 3, "ValueError")],
    )
    deliver(told)
    assert [len(run["annotations"]) for run in runs(github)] == [1]

    github.write_faults.arm(GitHubFault("done-then-dropped", times=1, match=CREATE))
    put(told, "queued", check=42)
    deliver(told)
    put(told, "success", "better", check=42)
    deliver(told)

    assert [(run["conclusion"], len(run["annotations"])) for run in runs(github)] == [
        ("failure", 1),
        ("success", 0),
    ]
    put(told, "queued", check=43)  # without annotations the same one is used again
    deliver(told)
    assert [run["status"] for run in runs(github)] == ["completed", "queued"]


@pytest.mark.usefixtures("with_app")
@pytest.mark.parametrize(
    "kind", ["done-then-dropped", "done-then-late", "server-error", "truncated", "not-found"]
)
def test_after_a_fault_there_is_one_check_run_in_its_last_state(
    kind: Any, told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    start_vcs()
    for match in (CREATE, UPDATE, LIST, "access_tokens"):
        github.write_faults.arm(GitHubFault(kind, times=1, delay=1, match=match))
        put(told, "in_progress", f"{match}: first")
        deliver(told)
        put(told, "success", f"{match}: last")
        deliver(told)
        (run,) = runs(github)
        assert (run["conclusion"], run["output"]["title"]) == ("success", f"{match}: last")


@pytest.mark.usefixtures("with_app")
@pytest.mark.parametrize("is_begun", [True, False])
@pytest.mark.parametrize("refusals", [1, 2])
def test_a_check_run_ends_whatever_github_does_not_take(
    *, refusals: int, is_begun: bool, told: Told, github: FakeGitHub, start_vcs: StartVcs, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    start_vcs(log)
    if is_begun:
        put(told, "in_progress")
        deliver(told)
    match = UPDATE if is_begun else CREATE
    github.write_faults.arm(GitHubFault("validation", times=refusals, match=match))
    put(told, "failure", "SMAPE 0.1", annotations=[Annotation("main.py", 3, "ValueError: no rows")])
    told.wait()

    (run,) = runs(github)
    assert (run["status"], run["conclusion"], run["annotations"]) == ("completed", "failure", [])
    told_of = NO_ANNOTATIONS if refusals == 1 else NO_REPORT
    assert run["output"]["summary"].count(told_of) == 1
    assert ("| `smape` | 0.1 | 0.3 |" in run["output"]["summary"]) is (refusals == 1)
    assert log.read_text().count("is written with less") == refusals
    assert told.problem() is None


@pytest.mark.usefixtures("with_app")
def test_an_end_that_github_does_not_take_is_tried_again(
    told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    start_vcs()
    put(told, "in_progress")
    deliver(told)
    github.write_faults.arm(GitHubFault("validation", match=UPDATE))
    put(told, "success", "better")
    told.wait("refused")
    assert "does not take GitHub check runs in acme/widgets" in (told.row().error or "")

    github.write_faults.arm(None)
    deliver(told)  # as after the pause
    assert [run["conclusion"] for run in runs(github)] == ["success"]


@pytest.mark.usefixtures("with_app")
def test_killed_between_githubs_doing_and_our_writing_down(
    told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    github.write_faults.arm(GitHubFault("done-then-late", times=1, delay=60, match=CREATE))
    killed = start_vcs()
    put(told, "in_progress")
    wait_until(lambda: runs(github), 30, "GitHub has made it")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    github.write_faults.arm(None)
    assert told.row().github_id is None

    put(told, "success", "better")
    start_vcs()
    deliver(told)
    (run,) = runs(github)
    assert (run["conclusion"], run["output"]["title"]) == ("success", "better")


@pytest.mark.usefixtures("with_app")
def test_a_missing_permission_is_said_once_and_blocks_nothing(
    told: Told, app: FakeApp, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    del app.permissions["checks"]
    start_vcs()
    put(told, "success")
    told.wait_for_error(
        "The GitHub App may not write GitHub check runs in acme/widgets: give it write access"
    )
    told.put_status("is well")
    told.put_comment("is well")
    wait_until(lambda: github.written.statuses and github.written.comments, 30, "the others are written")

    assert (told.problem() or "").count("check runs") == 1
    app.permissions["checks"] = "write"
    app.tokens.clear()  # as after an hour
    deliver(told)
    assert told.problem() is None
    assert len(runs(github)) == 1


@pytest.mark.usefixtures("with_app")
def test_comments_of_the_bot_are_found_again(told: Told, github: FakeGitHub, start_vcs: StartVcs) -> None:
    github.write_faults.arm(GitHubFault("done-then-dropped", times=1, match="/comments"))
    start_vcs()
    told.put_comment("better")
    deliver(told)
    assert len(told.comments()) == 1
    assert not [line for line in github.log if line == "GET /user"]


def test_without_an_app_nothing_is_put_and_nothing_is_kept(
    told: Told, variables: dict[str, str], with_app: None, start_vcs: StartVcs
) -> None:
    put(told, "queued")
    assert len(told.rows()) == 1

    for name in ("GITHUB_APP_ID", "GITHUB_APP_KEY_FILE"):
        variables[name] = ""
    start_vcs()
    wait_until(lambda: not told.rows(), 30, "the check run is forgotten")
    put(told, "queued")
    assert told.rows() == []


@pytest.mark.parametrize("name", ["GITHUB_APP_KEY_FILE"])
def test_a_bad_key_file_stops_the_start_with_one_sentence(
    name: str, variables: dict[str, str], with_app: None, tmp_path: Path
) -> None:
    bad = tmp_path / "key.pem"
    bad.write_text("-----BEGIN RSA PRIVATE KEY-----\nsecret-of-the-test\n-----END RSA PRIVATE KEY-----\n")
    done = subprocess.run(
        [sys.executable, "-m", "vcs"],
        check=False,
        env=variables | {name: str(bad)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "is no private key of a GitHub App: generate one" in done.stderr
    assert "secret-of-the-test" not in done.stderr
    assert "Traceback" not in done.stderr
