"""Each subject is shown once and as it was put last, whatever fails between GitHub, vcs and Postgres."""

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url, update
from sqlalchemy.orm import Session, sessionmaker

from db.vcs_models import OutboxSubject
from resources.demo.github import FakeGitHub, GitHubFault
from tests.harness.waiting import wait_until
from tests.vcs.conftest import REPOSITORY
from tests.vcs.outbox.conftest import COMMIT, StartVcs, Told, without_postgres

FAULTS = [
    GitHubFault("not-found", times=1),
    GitHubFault("secondary-rate-limit", times=1, wait=1),
    GitHubFault("server-error", times=2),
    GitHubFault("truncated", times=1),
    GitHubFault("dropped", times=1),
]
MORE_FAULTS = [
    GitHubFault("unauthorized", times=1),
    GitHubFault("forbidden", times=1),
    GitHubFault("too-many-requests", times=1, wait=1),
    GitHubFault("rate-limit", times=1, wait=1),
    GitHubFault("bad-gateway", times=1),
    GitHubFault("html", times=1),
    GitHubFault("none", times=1, delay=2),
]
OF_WRITES = [
    GitHubFault("done-then-dropped", times=1),
    GitHubFault("done-then-late", times=1, delay=2),
    GitHubFault("validation", times=1),
]
RARE = [pytest.param(fault, marks=pytest.mark.soak) for fault in MORE_FAULTS]
STATUS, COMMENT, EDIT = "POST /repos/acme/widgets/statuses/", "POST /repos/acme/widgets/issues", "PATCH "
DEPLOYMENT, DEPLOYED = "POST /repos/acme/widgets/deployments", "POST /repos/acme/widgets/deployments/"
READ_COMMENTS, READ_DEPLOYMENTS = (
    "GET /repos/acme/widgets/issues",
    "GET /repos/acme/widgets/deployments",
)
PUT: dict[str, Callable[[Told, str], None]] = {
    STATUS: lambda told, text: told.put_status(text),
    COMMENT: lambda told, text: told.put_comment(text),
    DEPLOYMENT: lambda told, text: told.put_deployment(description=text),
}
PUT |= {EDIT: PUT[COMMENT], READ_COMMENTS: PUT[COMMENT]}
PUT |= {DEPLOYED: PUT[DEPLOYMENT], READ_DEPLOYMENTS: PUT[DEPLOYMENT]}
LAST = "the last state"


def assert_the_last_state_is_shown_once(match: str, told: Told, github: FakeGitHub) -> None:
    written = github.written
    if match == STATUS:
        assert [status["description"] for status in written.list_statuses(COMMIT)] == [LAST]
    elif "issues" in match or match == EDIT:
        (comment,) = told.comments()
        assert LAST in comment
    else:
        (deployment,) = written.list_deployments(REPOSITORY, {})
        assert written.list_deployment_statuses(deployment["id"])[0]["description"] == LAST


def put_before(match: str, told: Told) -> None:
    """Have a comment there where the next call edits it."""
    if match == EDIT:
        told.put_comment("the first state")
        told.wait()


def deliver(told: Told) -> None:
    """Wait until all is delivered, without the pauses after a failure."""

    def is_delivered() -> bool:
        told.make_due()
        return {row.state for row in told.rows()} == {"delivered"}

    wait_until(is_delivered, 60, "all is delivered")


def is_done(match: str, github: FakeGitHub) -> bool:
    written = github.written
    if match == EDIT:
        return any("a state" in comment["body"] for comment in written.comments)
    done = {
        STATUS: written.statuses,
        COMMENT: written.comments,
        DEPLOYMENT: written.deployments,
        DEPLOYED: written.deployment_statuses,
    }
    return bool(done[match])


@pytest.mark.parametrize("fault", [*FAULTS, *OF_WRITES, *RARE], ids=lambda fault: fault.kind)
def test_after_a_fault_the_last_state_is_shown_once(
    fault: GitHubFault, told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    start_vcs()
    for match in (STATUS, COMMENT, EDIT, DEPLOYMENT, DEPLOYED):
        github.write_faults.arm(GitHubFault(**(vars(fault) | {"match": match})))
        PUT[match](told, f"a state before {match}")
        wait_until(lambda: github.write_faults.seen > 0, 30, "GitHub fails")
        PUT[match](told, LAST)
        deliver(told)
        assert_the_last_state_is_shown_once(match, told, github)


@pytest.mark.parametrize("fault", [*FAULTS, *RARE], ids=lambda fault: fault.kind)
def test_what_cannot_be_looked_up_is_not_made_a_second_time(
    fault: GitHubFault, told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    start_vcs()
    for create, read in ((COMMENT, READ_COMMENTS), (DEPLOYMENT, READ_DEPLOYMENTS)):
        github.write_faults.arm(GitHubFault("done-then-dropped", times=1, match=create))
        PUT[create](told, LAST)
        wait_until(lambda: github.write_faults.seen > 0 and told.row().error, 30, "its answer is lost")
        github.write_faults.arm(GitHubFault(**(vars(fault) | {"match": read})))
        told.make_due()
        wait_until(lambda: github.write_faults.seen > 0, 30, "the lookup fails")
        deliver(told)
        assert_the_last_state_is_shown_once(create, told, github)


@pytest.mark.parametrize("match", [STATUS, COMMENT, EDIT, DEPLOYMENT, DEPLOYED])
def test_a_kill_after_githubs_doing_makes_nothing_twice(
    match: str, told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    first = start_vcs()
    put_before(match, told)
    github.write_faults.arm(GitHubFault("done-then-dropped", times=1, delay=60, match=match))
    PUT[match](told, "a state")
    wait_until(lambda: is_done(match, github), 30, "GitHub did it, and vcs waits for its answer")
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert told.row().delivered < told.row().version
    github.write_faults.arm(None)
    PUT[match](told, LAST)

    start_vcs()
    deliver(told)
    assert_the_last_state_is_shown_once(match, told, github)


@pytest.mark.parametrize("match, good_calls", [(COMMENT, (0, 1, 2)), (DEPLOYMENT, (0, 1, 1))])
def test_killed_again_and_again_nothing_is_made_twice(
    match: str, good_calls: tuple[int, ...], told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    PUT[match](told, LAST)
    for after in good_calls:  # each process comes one call further
        calls = len(github.log)
        github.write_faults.arm(GitHubFault("done-then-dropped", delay=60, match="/acme", after=after))
        told.make_due()
        process = start_vcs()
        wait_until(lambda at=calls + after: len(github.log) > at, 30, "vcs waits for an answer")
        process.kill()
        process.wait()
    github.write_faults.arm(None)

    start_vcs()
    deliver(told)
    assert_the_last_state_is_shown_once(match, told, github)


@pytest.mark.parametrize("kind", ["done-then-dropped", "done-then-late"])
@pytest.mark.parametrize("match", [COMMENT, DEPLOYMENT])
def test_postgres_away_after_githubs_doing_makes_nothing_twice(
    *,
    match: str,
    kind: str,
    told: Told,
    github: FakeGitHub,
    start_vcs: StartVcs,
    sessions: sessionmaker[Session],
    variables: dict[str, str],
    tmp_path: Path,
) -> None:
    role, log = str(make_url(variables["DATABASE_URL"]).username), tmp_path / "log"
    github.write_faults.arm(GitHubFault(**{"kind": kind, "times": 1, "delay": 60, "match": match}))
    PUT[match](told, LAST)
    start_vcs(log=log)
    wait_until(lambda: is_done(match, github), 30, "GitHub did it")
    with without_postgres(sessions, role):
        github.write_faults.arm(None)  # now its answer comes, or never
        wait_until(lambda: "the database does not answer" in log.read_text(), 30, "vcs cannot write it down")
    assert told.row().github_id is None

    deliver(told)
    assert_the_last_state_is_shown_once(match, told, github)


def test_a_status_ends_whatever_github_does_not_take(
    told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    start_vcs()
    told.put_status("trains")
    told.wait()
    github.write_faults.arm(GitHubFault("validation", times=1, match=STATUS))
    told.put_status("SMAPE 0.1", state="failure")
    told.wait()

    assert [status["state"] for status in github.written.list_statuses(COMMIT)] == ["failure"]


@pytest.mark.parametrize("days, is_tried_again", [(2, True), (4, False)])
def test_what_github_does_not_take_is_tried_for_days(
    days: int, told: Told, github: FakeGitHub, start_vcs: StartVcs, *, is_tried_again: bool
) -> None:
    github.write_faults.arm(GitHubFault("validation", match=COMMENT))
    told.put_comment("it is better")
    with told.sessions.begin() as session:
        session.execute(
            update(OutboxSubject).values(changed_at=OutboxSubject.changed_at - timedelta(days=days))
        )
    start_vcs()
    told.wait("refused")
    assert (told.row().due_at is not None) is is_tried_again


def when(document: dict[str, str]) -> datetime:
    """When GitHub made it, in whole seconds."""
    return datetime.fromisoformat(document["created_at"])


def put_more(told: Told) -> None:
    """Have all kinds due at once."""
    told.put_status(model="prices")
    told.put_comment("it is better")
    told.put_deployment()
    told.make_due()


def assert_all_were_made_after(moment: datetime, told: Told, github: FakeGitHub) -> None:
    told.wait(seconds=60)
    written = github.written
    made = [*written.list_statuses(COMMIT)[1:], *written.comments, *written.deployments]
    assert len(made) == 3
    assert min(map(when, made)) >= moment


@pytest.mark.parametrize("kind", ["secondary-rate-limit", "rate-limit"])
def test_a_limit_holds_up_all_writes(kind: str, told: Told, github: FakeGitHub, start_vcs: StartVcs) -> None:
    start_vcs()
    told.put_status(model="iris")
    told.wait()
    seconds = 8
    github.write_faults.arm(GitHubFault(**{"kind": kind, "times": 1, "wait": seconds}))
    lifted = datetime.fromtimestamp(int(time.time()) + seconds, UTC)
    told.put_status("trains on", model="prices")
    told.wait_for_error("asks for a pause")
    put_more(told)

    assert_all_were_made_after(lifted, told, github)


def test_the_last_of_the_quota_is_left_to_syncs(told: Told, github: FakeGitHub, start_vcs: StartVcs) -> None:
    start_vcs()
    told.put_status(model="iris")
    wait_until(lambda: told.row().state == "delivered", 30, "vcs runs")
    github.used_calls, github.window_ends = 4900, int(time.time()) + 8
    ends = datetime.fromtimestamp(github.window_ends, UTC)
    told.put_status("evaluates", model="iris")
    wait_until(lambda: told.row().state == "delivered", 30, "one more is written")
    put_more(told)

    assert_all_were_made_after(ends, told, github)


def test_a_limit_without_a_time_holds_up_all_writes(
    told: Told, github: FakeGitHub, start_vcs: StartVcs
) -> None:
    """No call reaches GitHub in the first seconds: it asks for at least a minute then."""
    github.write_faults.arm(GitHubFault("secondary-without-wait", times=1))
    told.put_status(model="iris")
    start_vcs()
    told.wait_for_error("asks for a pause")
    calls = len(github.log)
    put_more(told)
    time.sleep(4)  # without the pause four writes would be there

    assert len(github.log) == calls
