"""The outbox: what GitHub should show, one row a subject, written in the transaction that changes it.

Call a `put_…` in the transaction that causes the change. `vcs` delivers the newest state, soon, and once
for each change; a newer state replaces one that was not delivered. Nothing waits for it. Texts may come
from models: `vcs` escapes and cuts them. Addresses may be paths, which begin with `/`: `vcs` puts the
appliance's address before them, and leaves them out where it has none.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import case, func, null, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.session import notify
from db.states import OutboxState
from db.vcs_models import OutboxSubject

CHANNEL = "outbox"

MAX_METRICS, MAX_LOG_LINES, MAX_LINE_CHARS = 200, 60, 500  # of a comment

StatusState = Literal["pending", "success", "failure", "error"]
GitHubDeploymentState = Literal["in_progress", "success", "failure", "inactive"]
Number = float | str | None  # text: one that JSON has no number for


class SubjectKind(StrEnum):
    STATUS = "status"
    COMMENT = "comment"
    DEPLOYMENT = "deployment"
    CHECK_RUN = "check_run"


@dataclass(frozen=True)
class MetricChange:
    """A metric of the candidate and of the live release; its rule of `[gate]`, and whether that is met."""

    name: str
    candidate: Number
    live: Number = None
    rule: str | None = None
    is_met: bool | None = None


@dataclass(frozen=True)
class ChangedRow:
    """One prediction that changes: the row's number and both answers, numbers or short texts."""

    row: int
    live: Number
    candidate: Number


@dataclass(frozen=True)
class PredictionChanges:
    """The number of compared predictions that change, and the rows that change most."""

    changed: int
    compared: int
    source: str  # "recorded requests" or "rows of the test data"
    worst: Sequence[ChangedRow] = ()


@dataclass(frozen=True)
class StageTime:
    name: str
    seconds: float
    outcome: str = "done"


@dataclass(frozen=True)
class CommentFacts:
    """The content of a pull request's comment on one model; `summary` is one sentence."""

    state: StatusState
    summary: str
    metrics: Sequence[MetricChange] = ()
    changes: PredictionChanges | None = None
    stages: Sequence[StageTime] = ()
    log: Sequence[str] = ()  # the last lines of a failure
    changed_rules: Sequence[str] = ()  # rules of `[gate]` that the pull request itself changes
    changed_recording: Sequence[str] = ()  # of `[record]`, likewise; what records more comes first
    details_url: str | None = None
    preview_url: str | None = None


def put_status(
    session: Session,
    *,
    repository: str,
    commit: str,
    model: str,
    state: StatusState,
    description: str,
    target_url: str | None = None,
) -> None:
    """Have GitHub show this status of a commit, as `slipway/<model>`."""
    facts = {
        "commit": commit,
        "model": model,
        "state": state,
        "description": description,
        "target_url": target_url,
    }
    put_subject(session, SubjectKind.STATUS, f"{commit} {model}", repository, facts)


def put_comment(
    session: Session,
    *,
    repository: str,
    number: int,
    model: str,
    head: str,
    position: int,
    facts: CommentFacts,
    is_open: bool = True,
) -> None:
    """Have GitHub show this comment on a pull request; one of an older `position` changes nothing.

    `position` grows from head to head, as the ids of checks do. `is_open` is False when the pull request is
    closed or locked: then a comment is edited, but none begun.
    """
    document = {
        **asdict(cut_facts(facts)),
        "number": number,
        "model": model,
        "head": head,
        "is_open": is_open,
    }
    put_subject(session, SubjectKind.COMMENT, f"{number} {model}", repository, document, position=position)


def has_comment(session: Session, *, repository: str, number: int, model: str) -> bool:
    """Return whether a pull request has a comment on a model, or is to get one."""
    return find_facts(session, SubjectKind.COMMENT, repository, f"{number} {model}") is not None


def put_comment_note(session: Session, *, repository: str, number: int, model: str, note: str | None) -> None:
    """Put a sentence on top of a pull request's comment, where it has one; None takes it away."""
    key = make_key(SubjectKind.COMMENT, repository, f"{number} {model}")
    found = session.scalar(select(OutboxSubject).where(OutboxSubject.key == key).with_for_update())
    if found is not None:
        facts = {name: value for name, value in found.facts.items() if name != "note"}
        facts |= {"note": note} if note else {}
        put_subject(
            session, SubjectKind.COMMENT, f"{number} {model}", repository, facts, position=found.position
        )


def put_deployment(
    session: Session,
    *,
    repository: str,
    release: int,
    commit: str,
    model: str,
    state: GitHubDeploymentState,
    description: str = "",
    environment_url: str | None = None,
    log_url: str | None = None,
) -> None:
    """Have GitHub show a release as a deployment of its commit, in this state."""
    facts = {
        "release": release,
        "commit": commit,
        "model": model,
        "state": state,
        "description": description,
        "environment_url": environment_url,
        "log_url": log_url,
    }
    put_subject(session, SubjectKind.DEPLOYMENT, str(release), repository, facts)


def cut_facts(facts: CommentFacts) -> CommentFacts:
    """Return facts of a bounded size."""
    log = [*map(cut_line, facts.log[-MAX_LOG_LINES:])]
    return replace(facts, metrics=facts.metrics[:MAX_METRICS], log=log)


def cut_line(line: str) -> str:
    return line if len(line) <= MAX_LINE_CHARS else f"{line[:MAX_LINE_CHARS]}…"


def make_key(kind: SubjectKind, repository: str, subject: str) -> str:
    return f"{kind} {repository} {subject}"


def put_subject(
    session: Session,
    kind: SubjectKind,
    subject: str,
    repository: str,
    facts: dict[str, Any],
    *,
    position: int = 0,
) -> None:
    """Store a subject's newest state, due now; an equal or an older one changes nothing."""
    old = OutboxSubject
    new = insert(old).values(
        key=make_key(kind, repository, subject),
        kind=kind.value,
        repository=repository,
        facts=facts,
        position=position,
    )
    is_closed = old.state == OutboxState.CLOSED
    written = new.on_conflict_do_update(
        index_elements=[old.key],
        set_={
            "facts": new.excluded.facts,
            "position": new.excluded.position,
            "version": old.version + 1,
            "state": case((is_closed, old.state), else_=OutboxState.PENDING.value),
            "due_at": case((is_closed, null()), else_=func.now()),
            "changed_at": func.now(),
        },
        where=(new.excluded.position >= old.position) & old.facts.is_distinct_from(new.excluded.facts),
    )
    if session.execute(written.returning(old.version)).first() is not None:
        notify(session, CHANNEL)


def find_facts(session: Session, kind: SubjectKind, repository: str, subject: str) -> dict[str, Any] | None:
    """Return what GitHub should show of a subject; None where there is no such subject."""
    key = make_key(kind, repository, subject)
    return session.scalar(select(OutboxSubject.facts).where(OutboxSubject.key == key))


def show_again(session: Session, kind: SubjectKind, repository: str, subject: str) -> None:
    """Deliver a subject's state once more: GitHub does not show it any more."""
    same = (OutboxSubject.key == make_key(kind, repository, subject)) & (
        OutboxSubject.state != OutboxState.CLOSED
    )
    shown = {"version": OutboxSubject.version + 1, "state": OutboxState.PENDING}
    again = update(OutboxSubject).where(same).values(**shown, due_at=func.now(), changed_at=func.now())
    if session.execute(again.returning(OutboxSubject.version)).first() is not None:
        notify(session, CHANNEL)
