"""What GitHub should show of checks: the status of a pull request's head, and its comment."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import extract, func, select
from sqlalchemy.orm import Session

from common.figures import format_metric
from db import check_runs, outbox
from db.check_runs import Annotation, CheckRunState
from db.models import Release, Stage
from db.outbox import ChangedRow, CommentFacts, MetricChange, PredictionChanges, StageTime, StatusState
from db.outbox_subjects import CommitOf, name_comment, name_commit
from db.states import StageOutcome, Status, Trigger

STATES: dict[Status, StatusState] = {
    Status.QUEUED: "pending",
    Status.BUILDING: "pending",
    Status.CHECKED: "success",
    Status.UNTOUCHED: "success",
    Status.REJECTED: "failure",
}
CHECK_RUN_STATES: dict[Status, CheckRunState] = {
    Status.QUEUED: "queued",
    Status.BUILDING: "in_progress",
    Status.CHECKED: "success",
    Status.UNTOUCHED: "skipped",
    Status.SUPERSEDED: "cancelled",
    Status.CANCELLED: "cancelled",
}
WAITING = "it comes from another repository, and waits for an operator: slipway approve {}"
DRAFT = "a draft is not checked: mark it as ready for review"
WITHDRAWN = (Status.SUPERSEDED, Status.CANCELLED)


def report_stage(session: Session, release: Release, stage: str) -> None:
    """Have GitHub show that a check is in this stage; do nothing for other releases."""
    if release.trigger is Trigger.CHECK:
        facts = CommentFacts("pending", f"{stage} runs", details_url=f"/releases/{release.id}")
        _put_commit(session, name_commit(release), facts, "in_progress", check=release.id)


def report_state(
    session: Session, release_id: int, log: Sequence[str] = (), annotations: Sequence[Annotation] = ()
) -> None:
    """Have GitHub show the state of a check, with its log and the lines at fault where it failed.

    Do nothing for other releases. One of a merge group has no comment, and one that does not touch the model
    begins none. A check that was withdrawn leaves the status of its commit to another check of it.
    """
    session.flush()
    release = session.get_one(Release, release_id, populate_existing=True)
    if release.trigger is not Trigger.CHECK:
        return
    if release.status in WITHDRAWN and (other := _find_other(session, release)) is not None:
        release = other
    state = STATES.get(release.status, "error")
    summary = summarize(release)
    facts = CommentFacts(state, summary, details_url=f"/releases/{release.id}")
    if release.status.has_ended and release.status not in WITHDRAWN:
        facts = _collect_facts(session, release, state, summary, log)
        comment = name_comment(release) if release.ref is None and release.id == release_id else None
        if comment and (release.status is not Status.UNTOUCHED or outbox.has_comment(session, **comment)):
            outbox.put_comment(session, **comment, head=release.commit, position=release.id, facts=facts)
    run_state = CHECK_RUN_STATES.get(release.status, "failure")
    _put_commit(session, name_commit(release), facts, run_state, check=release.id, annotations=annotations)


def _find_other(session: Session, withdrawn: Release) -> Release | None:
    """Return the newest other check of a commit that was not withdrawn."""
    of_commit = (Release.model == withdrawn.model) & (Release.commit == withdrawn.commit)
    is_standing = (Release.trigger == Trigger.CHECK) & Release.status.not_in(WITHDRAWN)
    found = select(Release).where(of_commit, is_standing).order_by(Release.id.desc()).limit(1)
    return session.scalar(found)


def report_waiting(session: Session, head: CommitOf, number: int) -> None:
    """Have GitHub show that the head of a pull request waits for approval."""
    _put_commit(session, head, CommentFacts("error", WAITING.format(number)), "action_required")


def report_draft(session: Session, head: CommitOf) -> None:
    """Have GitHub show that a draft is not checked."""
    _put_commit(session, head, CommentFacts("error", DRAFT), "cancelled")


def report_refused(session: Session, commit: CommitOf, why: str) -> None:
    """Have GitHub show why the commit of a merge group is not checked."""
    _put_commit(session, commit, CommentFacts("error", why), "failure")


def _put_commit(
    session: Session,
    commit: CommitOf,
    facts: CommentFacts,
    run_state: CheckRunState,
    *,
    check: int = 0,
    annotations: Sequence[Annotation] = (),
) -> None:
    """Have GitHub show the state of a commit: its status, and its check run where a GitHub App is set."""
    outbox.put_status(
        session,
        **commit,
        state=facts.state,
        description=facts.summary,
        target_url=facts.details_url,
    )
    check_runs.put_check_run(
        session, **commit, check=check, state=run_state, facts=facts, annotations=annotations
    )


def summarize(release: Release) -> str:
    """Return a check's state as a sentence: `SMAPE 0.135, live 0.342; 12 of 200 predictions change`."""
    if release.status is not Status.CHECKED:
        return release.reason or "it waits to be built"
    parts = [", ".join(describe_metric(change) for change in list_metrics(release)[:3])]
    if release.differences:
        parts.append(
            f"{release.differences['changed']} of {release.differences['compared']} predictions change"
        )
    return "; ".join(part for part in parts if part) or release.reason or ""


def describe_metric(change: MetricChange) -> str:
    live = f", live {format_metric(change.live)}" if isinstance(change.live, float) else ""
    return (
        f"{change.name} {format_metric(change.candidate)}{live}"
        if isinstance(change.candidate, float)
        else ""
    )


def list_metrics(release: Release) -> list[MetricChange]:
    """Return the metrics of a release with those of the live one; first those that a rule judges."""
    rules = (release.verdict or {}).get("rules", [])
    judged = [
        MetricChange(
            rule["metric"],
            to_float(rule["value"]),
            to_float(rule["live"]),
            rule["rule"],
            rule["passed"],
        )
        for rule in rules
    ]
    names = {change.name for change in judged}
    others = [
        MetricChange(name, to_float(value))
        for name, value in (release.metrics or {}).items()
        if name not in names
    ]
    return [*judged, *others]


def to_float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def list_changes(release: Release) -> PredictionChanges | None:
    """Return how predictions change; of requests that users sent only the numbers that were answered."""
    found = release.differences
    if not found:
        return None
    from_users = found["inputs"] == "recorded requests"  # a text may repeat what they sent
    worst = []
    for number, row in enumerate(found.get("worst", []), 1):
        answers = [to_number(row[side]) for side in ("live", "this")]
        if not from_users or all(isinstance(answer, float) for answer in answers):
            worst.append(ChangedRow(number, *answers))
    return PredictionChanges(found["changed"], found["compared"], found["inputs"], worst)


def to_number(text: str) -> float | str:
    """Return the number that a stored answer is, else its text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else text


def _collect_facts(
    session: Session, release: Release, state: StatusState, summary: str, log: Sequence[str]
) -> CommentFacts:
    """Return all that is shown of a check that has ended."""
    return CommentFacts(
        state,
        summary,
        list_metrics(release),
        list_changes(release),
        list_stages(session, release.id),
        log if state != "success" else (),
        (release.verdict or {}).get("changed_rules", ()),
        (release.verdict or {}).get("changed_recording", ()),
        f"/releases/{release.id}",
        f"/releases/{release.id}/predict" if release.artifact else None,
    )


def list_stages(session: Session, release_id: int) -> list[StageTime]:
    """Return the last run of each stage of a release that has ended, with its seconds."""
    took = extract("epoch", func.coalesce(Stage.ended_at, func.clock_timestamp()) - Stage.started_at)
    rows = session.execute(
        select(Stage.name, took, Stage.outcome).where(Stage.release_id == release_id).order_by(Stage.id)
    )
    last = {name: StageTime(name, float(seconds), outcome) for name, seconds, outcome in rows}
    return [stage for stage in last.values() if stage.outcome != StageOutcome.RUNNING]
