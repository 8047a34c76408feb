"""Checks: one of the newest head of each open pull request, and of forks only what was approved."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session, sessionmaker

from db import check_list, check_reports, checks, claims, deployments, release_queue, releases
from db.check_list import ListedPullRequest, PredictionCounts
from db.checks import NOBODY, OpenPullRequest, Trust
from db.claims import Claim, Finished
from db.deployments import ConflictError, RefusedError
from db.models import Release, Stage, StageName
from db.states import Status, Trigger
from db.vcs_models import OutboxSubject
from ml.sources import git_merge
from vcs.outbox.subjects import shorten

Sessions = sessionmaker[Session]
OWN, FORK = 1, 2  # ids of repositories


def show(sessions: Sessions, number: int, head: str, **fields: Any) -> None:
    """Store a pull request as Singer does."""
    row = {
        "id": number,
        "number": number,
        "head_sha": head,
        "state": "open",
        "draft": False,
        "base_ref": "main",
        "head_repository_id": OWN,
        "base_repository_id": OWN,
        "user_id": 7,
        "head_owner_id": 8,
        **fields,
    }
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    update = ", ".join(f"{name} = excluded.{name}" for name in row)
    with sessions.begin() as session:
        session.execute(
            text(f"""
                INSERT INTO vcs.pull_requests (_sdc_repository, {names}) VALUES ('a/m', {values})
                ON CONFLICT (id) DO UPDATE SET {update}
            """),
            row,
        )


def look(sessions: Sessions, trust: Trust = NOBODY) -> list[tuple[int | None, str, bool]]:
    """Queue as the controller does; return number and head of what was queued, and whether it is a fork."""
    with sessions.begin() as session:
        queued = checks.queue_checks(session, "m", "a/m", "main", trust)
        return [(release.pull_request, release.commit, release.is_fork) for release in queued]


def states(sessions: Sessions) -> list[tuple[str, Status]]:
    with sessions.begin() as session:
        return [(each.commit, each.status) for each in session.scalars(select(Release).order_by(Release.id))]


def claim(sessions: Sessions, commit: str) -> Claim:
    with sessions.begin() as session:
        found = session.scalars(select(Release.id).where(Release.commit == commit)).one()
        made = claims.claim(session, found)
        assert made is not None
        return made


def settle(sessions: Sessions, commit: str, status: Status = Status.CHECKED, **facts: Any) -> int:
    """Build a queued check to its end."""
    made = claim(sessions, commit)
    with sessions.begin() as session:
        claims.record_facts(session, made, artifact="a", **facts)
        claims.settle(session, made, Finished(status, "as it is"))
    return made.release.id


def test_each_open_pull_request_has_one_check(sessions: Sessions) -> None:
    show(sessions, 1, "one")
    show(sessions, 2, "two", draft=None)
    show(sessions, 3, "three", base_ref="other")
    show(sessions, 4, "four", state="closed")
    assert look(sessions) == [(1, "one", False), (2, "two", False)]
    assert look(sessions) == []
    settle(sessions, "one", Status.REJECTED)
    assert look(sessions) == []


def test_a_newer_push_supersedes_what_waits_or_runs(sessions: Sessions) -> None:
    show(sessions, 1, "one")
    look(sessions)
    running = claim(sessions, "one")
    show(sessions, 1, "two")
    look(sessions)
    show(sessions, 1, "three")
    look(sessions)
    assert states(sessions) == [
        ("one", Status.SUPERSEDED),
        ("two", Status.SUPERSEDED),
        ("three", Status.QUEUED),
    ]
    with pytest.raises(claims.ClaimLostError), sessions.begin() as session:
        claims.settle(session, running, Finished(Status.CHECKED, ""))
    with sessions.begin() as session:
        assert release_queue.find_ended(session, [running.release.id]) == [running.release.id]


@pytest.mark.parametrize("gone", [{"state": "closed"}, {"base_ref": "other"}, {"draft": True}])
def test_nobody_waits_for_a_closed_one_or_a_draft(sessions: Sessions, gone: dict[str, Any]) -> None:
    show(sessions, 1, "one")
    look(sessions)
    show(sessions, 1, "one", **gone)
    look(sessions)
    assert states(sessions) == [("one", Status.SUPERSEDED)]
    show(sessions, 1, "one")
    assert look(sessions) == [(1, "one", False)]  # opened again


@pytest.mark.parametrize("ends", [(FORK, OWN), (None, OWN), (OWN, None), (None, None)])
def test_a_fork_or_what_may_be_one_waits_for_approval(
    sessions: Sessions, ends: tuple[int | None, int | None]
) -> None:
    show(sessions, 1, "one", head_repository_id=ends[0], base_repository_id=ends[1])
    assert look(sessions) == []
    with sessions.begin() as session:
        (listed,) = check_list.list_pull_requests(session, "m", "a/m", "main")
        assert listed.needs_approval
        checks.approve(session, "m", 1, "one", pulls=[listed.pull], who="dana")
    assert look(sessions) == [(1, "one", True)]
    with sessions.begin() as session:
        (listed,) = check_list.list_pull_requests(session, "m", "a/m", "main")
        assert not listed.needs_approval


def test_an_approval_is_of_one_head_alone(sessions: Sessions) -> None:
    show(sessions, 1, "one", head_repository_id=FORK)
    with sessions.begin() as session:
        seen = checks.list_open(session, "a/m", "main")
        checks.approve(session, "m", 1, "one", pulls=seen, who="dana")
    show(sessions, 1, "evil", head_repository_id=FORK)
    assert look(sessions) == []
    with sessions.begin() as session:
        now = checks.list_open(session, "a/m", "main")
        for number, head in ((1, "one"), (2, "evil")):
            with pytest.raises(ConflictError):
                checks.approve(session, "m", number, head, pulls=now, who="dana")


@pytest.mark.parametrize(
    ("trust", "built"),
    [
        (Trust([7], [8]), True),
        (Trust([7], []), False),
        (Trust([], [8]), False),
        (Trust([7], [9]), False),
    ],
)
def test_trust_takes_author_and_owner(sessions: Sessions, trust: Trust, built: bool) -> None:
    show(sessions, 1, "one", head_repository_id=FORK)
    assert look(sessions, trust) == ([(1, "one", True)] if built else [])


def test_an_unknown_person_is_never_trusted(sessions: Sessions) -> None:
    show(sessions, 1, "one", head_repository_id=None, user_id=None, head_owner_id=None)
    with sessions.begin() as session:
        assert not any(Trust([7], [8]).covers(pull) for pull in checks.list_open(session, "a/m", "main"))


def test_checks_can_be_deployed_by_nobody(sessions: Sessions) -> None:
    show(sessions, 5, "one")
    look(sessions)
    number = settle(sessions, "one")
    with sessions.begin() as session, pytest.raises(RefusedError, match="a check of pull request #5: merge"):
        deployments.deploy(session, session.get_one(Release, number), who="dana", why=None)


def test_changes_supersede_no_checks_and_go_first(sessions: Sessions) -> None:
    show(sessions, 1, "one")
    look(sessions)
    with sessions.begin() as session:
        release_queue.supersede_queued(session, "m", "a newer one", tags=True)
        first = release_queue.find_due(session, "m")
        assert first is not None and first.trigger is Trigger.CHECK
        merge = Release(model="m", repository="a/m", commit="m", trigger=Trigger.MERGE, status=Status.QUEUED)
        session.add(merge)
        session.flush()
        found = release_queue.find_due(session, "m")
        assert found is not None and found.id == merge.id


def change(sessions: Sessions, commit: str, position: int | None = 1, **facts: Any) -> None:
    """Store a change of the branch that has a release."""
    with sessions.begin() as session:
        session.add(Release(model="m", repository="a/m", commit=commit, position=position, **facts))


def listed(sessions: Sessions) -> ListedPullRequest:
    with sessions.begin() as session:
        (found,) = check_list.list_pull_requests(session, "m", "a/m", "main")
        return found


def test_a_check_is_outdated_once_the_branch_moved_on(sessions: Sessions) -> None:
    change(sessions, "tip")
    show(sessions, 1, "one")
    look(sessions)
    settle(sessions, "one", base="tip")
    assert not listed(sessions).is_outdated
    change(sessions, "older", None, status=Status.SUPERSEDED)  # synced late
    assert not listed(sessions).is_outdated
    change(sessions, "newer", 2)
    assert listed(sessions).is_outdated


def test_a_check_of_the_newest_change_is_up_to_date(sessions: Sessions) -> None:
    show(sessions, 1, "one")
    look(sessions)
    made = claim(sessions, "one")
    change(sessions, "first", 1)
    change(sessions, "second", 2)  # both while it was put back
    with sessions.begin() as session:
        claims.record_facts(session, made, base="second")
    assert not listed(sessions).is_outdated


def test_the_list_has_what_each_would_change(sessions: Sessions) -> None:
    show(sessions, 1, "one")
    look(sessions)
    differences = {"changed": 12, "compared": 200, "inputs": "recorded requests", "worst": []}
    number = settle(sessions, "one", metrics={"SMAPE": 0.1}, differences=differences)
    found = listed(sessions)
    assert found.check is not None and found.check.id == number
    assert (found.predictions, found.stage) == (PredictionCounts(12, 200), None)
    show(sessions, 1, "two")
    assert listed(sessions).check is None  # of an older head
    look(sessions)
    made = claim(sessions, "two")
    with sessions.begin() as session:
        claims.begin_stage(session, made, StageName.TRAIN)
    assert (listed(sessions).stage, listed(sessions).predictions) == ("train", None)


def test_many_open_pull_requests_take_as_many_queries_as_one(sessions: Sessions) -> None:
    def count_queries() -> int:
        statements: list[str] = []
        with sessions.begin() as session:
            engine = session.get_bind()
            collect = lambda *found: statements.append(found[2])  # noqa: E731
            event.listen(engine, "before_cursor_execute", collect)
            found = check_list.list_pull_requests(session, "m", "a/m", "main")
            assert all(each.check and each.check.reason and each.stage == "train" for each in found)
            event.remove(engine, "before_cursor_execute", collect)
        return len(statements)

    def open_more(numbers: range) -> None:
        for number in numbers:
            show(sessions, number, f"head {number}")
        look(sessions)
        with sessions.begin() as session:
            for check in session.scalars(select(Release).where(Release.status == Status.QUEUED)):
                check.status, check.base, check.reason = Status.BUILDING, "tip", "a reason"
                check.started_at = check.created_at
                session.add(Stage(release_id=check.id, name="train"))

    change(sessions, "tip", status=Status.DEPLOYED)
    open_more(range(1, 2))
    one = count_queries()
    open_more(range(2, 60))
    assert count_queries() == one <= 6


def test_open_pull_requests_are_counted_as_they_are_listed(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count() -> int:
        with sessions.begin() as session:
            return check_list.count_open(session, "a/m", "main")

    assert count() == 0
    for number in range(3):
        show(sessions, number, f"head {number}")
    show(sessions, 8, "closed", state="closed")
    show(sessions, 9, "elsewhere", base_ref="other")
    assert count() == 3
    monkeypatch.setattr(checks, "MAX_OPEN", 2)
    assert count() == 2


def test_what_was_checked_is_found_by_its_files(sessions: Sessions) -> None:
    for number, status in ((1, Status.CHECKED), (2, Status.REJECTED), (3, Status.CHECKED)):
        show(sessions, number, f"head {number}")
        look(sessions)
        settle(sessions, f"head {number}", status, files="t" if number != 3 else "other")
    with sessions.begin() as session:
        merge = Release(model="m", repository="a/m", commit="m", trigger=Trigger.MERGE)
        found = checks.find_reusable(session, merge, "t")
        assert found is not None and found.commit == "head 1"
        assert checks.find_reusable(session, merge, "none") is None


def test_files_of_checks_stay_while_they_may_be_needed(sessions: Sessions) -> None:
    def prune(*open_numbers: int) -> list[int]:
        with sessions.begin() as session:
            return [release.id for release in checks.prune_checks(session, "m", open_numbers)]

    show(sessions, 1, "old")
    look(sessions)
    old = settle(sessions, "old")
    show(sessions, 1, "new")
    look(sessions)
    new = settle(sessions, "new")
    assert prune(1) == [old]
    with sessions.begin() as session:
        session.add(
            Release(model="m", repository="a/m", commit="m", trigger=Trigger.MERGE, status=Status.QUEUED)
        )
    assert prune() == []  # the merge that waits may take it over
    with sessions.begin() as session:
        release_queue.supersede_queued(session, "m", "a newer one", tags=True)
    assert prune() == [new]


def test_checks_never_count_in_what_is_kept(sessions: Sessions) -> None:
    for number in range(3):
        show(sessions, number, f"head {number}")
        look(sessions)
        settle(sessions, f"head {number}")
    with sessions.begin() as session:
        built = [
            Release(model="m", repository="a/m", commit=str(n), status=Status.DEPLOYED, artifact="a")
            for n in range(2)
        ]
        session.add_all(built)
    with sessions.begin() as session:
        assert releases.prune_artifacts(session, "m", 2) == []


def test_only_the_newest_pull_requests_are_looked_at(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MAX_OPEN", 2)
    for number in range(4):
        show(sessions, number, f"head {number}")
    with sessions.begin() as session:
        found: list[OpenPullRequest] = checks.list_open(session, "a/m", "main")
    assert [pull.number for pull in found] == [3, 2]


def told(sessions: Sessions, kind: str) -> dict[str, dict[str, Any]]:
    """What GitHub should show, by commit or number."""
    with sessions.begin() as session:
        found = session.scalars(select(OutboxSubject).where(OutboxSubject.kind == kind))
        return {str(each.facts.get("commit") or each.facts["number"]): each.facts for each in found}


def test_github_shows_each_step_of_a_check(sessions: Sessions) -> None:
    show(sessions, 1, "one")
    look(sessions)
    assert read_status(sessions, "one") == ("pending", "it waits to be built")
    made = claim(sessions, "one")
    with sessions.begin() as session:
        claims.begin_stage(session, made, StageName.TRAIN)
    assert read_status(sessions, "one") == ("pending", "train runs")
    rule = {
        "metric": "SMAPE",
        "value": 0.135,
        "live": 0.342,
        "change": -0.6,
        "rule": "may worsen",
        "passed": True,
    }
    worst = [
        {"features": "[]", "live": "1.5", "this": "2", "change": 0.1},
        {"features": "[]", "live": "1.5", "this": '"a secret"', "change": None},
    ]
    differences = {"changed": 12, "compared": 200, "inputs": "recorded requests", "worst": worst}
    with sessions.begin() as session:
        claims.record_facts(
            session,
            made,
            metrics={"SMAPE": 0.135, "MAE": 1},
            verdict={"rules": [rule]},
            differences=differences,
        )
        claims.settle(session, made, Finished(Status.CHECKED, "", ("a line",)))
    assert read_status(sessions, "one") == (
        "success",
        "SMAPE 0.135, live 0.342, MAE 1.000; 12 of 200 predictions change",
    )
    comment = told(sessions, "comment")["1"]
    assert [metric["name"] for metric in comment["metrics"]] == ["SMAPE", "MAE"]
    assert comment["changes"]["worst"] == [{"row": 1, "live": 1.5, "candidate": 2.0}]
    assert "secret" not in str(comment) and comment["log"] == []
    assert [stage["name"] for stage in comment["stages"]] == ["train"]


def test_a_failure_is_shown_with_its_last_lines(sessions: Sessions) -> None:
    show(sessions, 1, "one")
    look(sessions)
    made = claim(sessions, "one")
    with sessions.begin() as session:
        claims.settle(
            session, made, Finished(Status.REJECTED, "train() failed", ("Traceback", "ValueError: no"))
        )
    assert told(sessions, "status")["one"]["state"] == "failure"
    assert told(sessions, "comment")["1"]["log"] == ["Traceback", "ValueError: no"]


def test_what_is_not_built_says_so(sessions: Sessions) -> None:
    show(sessions, 1, "draft", draft=True)
    show(sessions, 2, "fork", head_repository_id=FORK)
    show(sessions, 3, "closed")
    look(sessions)
    show(sessions, 3, "closed", state="closed")
    look(sessions)
    found = {head: (facts["state"], facts["description"]) for head, facts in told(sessions, "status").items()}
    assert found == {
        "draft": ("error", check_reports.DRAFT),
        "fork": ("error", "it comes from another repository, and waits for an operator: slipway approve 2"),
        "closed": ("error", checks.CLOSED),
    }
    assert told(sessions, "comment") == {}


def read_status(sessions: Sessions, head: str) -> tuple[str, str]:
    found = told(sessions, "status")[head]
    return found["state"], found["description"]


def test_the_status_of_a_draft_goes_on_when_it_is_ready(sessions: Sessions) -> None:
    show(sessions, 1, "one", draft=True)
    look(sessions)
    assert read_status(sessions, "one") == ("error", check_reports.DRAFT)
    show(sessions, 1, "one", draft=False)
    look(sessions)
    assert read_status(sessions, "one") == ("pending", "it waits to be built")
    settle(sessions, "one")
    show(sessions, 1, "one", draft=True)
    look(sessions)
    assert read_status(sessions, "one")[0] == "success"  # the verdict stays


def test_the_status_of_a_fork_goes_on_when_it_is_approved(sessions: Sessions) -> None:
    show(sessions, 1, "one", head_repository_id=FORK)
    look(sessions)
    assert read_status(sessions, "one") == ("error", check_reports.WAITING.format(1))
    with sessions.begin() as session:
        pulls = checks.list_open(session, "a/m", "main")
        checks.approve(session, "m", 1, "one", pulls=pulls, who="dana")
    look(sessions)
    assert read_status(sessions, "one") == ("pending", "it waits to be built")


@pytest.mark.parametrize("other", [{"head_repository_id": FORK}, {"draft": True}])
@pytest.mark.parametrize("number", [1, 3])
def test_another_with_the_same_head_leaves_the_status_alone(
    sessions: Sessions, number: int, other: dict[str, Any]
) -> None:
    """Everybody can open a pull request at a commit that is checked for a colleague."""
    show(sessions, 2, "one")
    look(sessions)
    show(sessions, number, "one", **other)
    look(sessions)
    assert read_status(sessions, "one")[0] == "pending"
    settle(sessions, "one")
    look(sessions)
    assert read_status(sessions, "one")[0] == "success"
    show(sessions, number, "one", **{**other, "state": "closed"})
    look(sessions)
    assert read_status(sessions, "one")[0] == "success"


@pytest.mark.parametrize("closed", [1, 2])
def test_an_ended_check_leaves_the_status_to_another(sessions: Sessions, closed: int) -> None:
    """Two pull requests have the same head; the check of one is done, and the other one is closed."""
    show(sessions, closed, "one")
    look(sessions)
    show(sessions, 3 - closed, "one")
    look(sessions)
    with sessions.begin() as session:
        kept = session.scalars(select(Release.id).where(Release.pull_request != closed)).one()
        made = claims.claim(session, kept)
        assert made is not None
        claims.settle(session, made, Finished(Status.REJECTED, "as it is", ("its log",)))
    show(sessions, closed, "one", state="closed")
    look(sessions)
    assert read_status(sessions, "one") == ("failure", "as it is")
    assert told(sessions, "comment")[str(3 - closed)]["log"] == ["its log"]


def test_a_recheck_that_ends_early_leaves_the_last_verdict(sessions: Sessions) -> None:
    show(sessions, 1, "one")
    look(sessions)
    settle(sessions, "one")
    with sessions.begin() as session:
        (pull,) = checks.list_open(session, "a/m", "main")
        assert checks.queue_again(session, "m", "a/m", pull) is not None
    assert read_status(sessions, "one")[0] == "pending"
    show(sessions, 1, "one", state="closed")
    look(sessions)
    assert read_status(sessions, "one")[0] == "success"


def test_a_conflict_ends_the_status_until_the_next_push(sessions: Sessions) -> None:
    show(sessions, 1, "one")
    look(sessions)
    reason = git_merge.CONFLICT.format("12345678")
    made = claim(sessions, "one")
    with sessions.begin() as session:
        claims.settle(session, made, Finished(Status.REJECTED, reason))
    look(sessions)
    assert read_status(sessions, "one") == ("failure", reason)
    show(sessions, 1, "two")
    look(sessions)
    assert read_status(sessions, "one") == ("failure", reason)
    assert read_status(sessions, "two") == ("pending", "it waits to be built")


@pytest.mark.parametrize(
    "sentence",
    [
        *(checks.CLOSED, checks.MERGED, checks.CHECKS_OFF, checks.UNFOLLOWED, check_reports.DRAFT),
        *(check_reports.WAITING.format(10**9), git_merge.CONFLICT.format("12345678")),
    ],
)
def test_github_shows_a_whole_sentence(sentence: str) -> None:
    assert shorten(sentence) == sentence


def end_by_cancel(sessions: Sessions) -> None:
    with sessions.begin() as session:
        release_queue.cancel(session, session.scalars(select(Release.id)).one(), "dana")


def end_by_model(sessions: Sessions) -> None:
    with sessions.begin() as session:
        checks.end_unfollowed(session, ["another"])


def end_by_setting(sessions: Sessions) -> None:
    with sessions.begin() as session:
        checks.end_checks(session, "m", checks.CHECKS_OFF)


def end_by_pull_request(**fields: Any) -> Callable[[Sessions], None]:
    def end(sessions: Sessions) -> None:
        show(sessions, 1, "one", **fields)
        look(sessions)

    return end


ENDS = {
    checks.CLOSED: end_by_pull_request(state="closed"),
    checks.MERGED: end_by_pull_request(state="closed", merged_at="2026-11-29T10:00Z", merge_commit_sha="m"),
    check_reports.DRAFT: end_by_pull_request(draft=True),
    "another was pushed after it": end_by_pull_request(head_sha="another"),
    "cancelled by dana": end_by_cancel,
    checks.UNFOLLOWED: end_by_model,
    checks.CHECKS_OFF: end_by_setting,
}


@pytest.mark.parametrize("is_building", [False, True])
@pytest.mark.parametrize("sentence", ENDS)
def test_a_status_ends_with_a_sentence(sessions: Sessions, sentence: str, is_building: bool) -> None:
    show(sessions, 1, "one")
    look(sessions)
    if is_building:
        made = claim(sessions, "one")
        with sessions.begin() as session:
            claims.begin_stage(session, made, StageName.TRAIN)
    assert told(sessions, "status")["one"]["state"] == "pending"
    ENDS[sentence](sessions)

    found = told(sessions, "status")["one"]
    assert (found["state"], found["description"]) == ("error", sentence)
    assert told(sessions, "comment") == {}


def test_a_model_that_is_followed_keeps_its_checks(sessions: Sessions) -> None:
    show(sessions, 1, "one")
    look(sessions)
    with sessions.begin() as session:
        checks.end_unfollowed(session, ["m"])
    assert states(sessions) == [("one", Status.QUEUED)]
    end_by_model(sessions)
    assert look(sessions) == [(1, "one", False)]  # it is followed again


def test_a_builder_that_dies_too_often_ends_the_status(sessions: Sessions) -> None:
    show(sessions, 1, "one")
    look(sessions)
    for attempt in range(1, claims.MAX_ATTEMPTS + 1):
        made = claim(sessions, "one")
        with sessions.begin() as session:
            claims.requeue_orphaned(session, session.get_one(Release, made.release.id))
        found = told(sessions, "status")["one"]["state"]
        assert found == ("pending" if attempt < claims.MAX_ATTEMPTS else "error")


def test_other_releases_tell_github_nothing_of_checks(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.add(
            Release(model="m", repository="a/m", commit="m", trigger=Trigger.MERGE, status=Status.QUEUED)
        )
    made = claim(sessions, "m")
    with sessions.begin() as session:
        claims.begin_stage(session, made, StageName.TRAIN)
        claims.settle(session, made, Finished(Status.REJECTED, "train() failed"))
    assert told(sessions, "status") == {}
