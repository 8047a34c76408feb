"""The outbox: what GitHub should show, one row a subject, written in the transaction that changes it.

Call a `put_…` in the transaction that causes the change. `vcs` delivers the newest state, soon, and once
for each change; a newer state replaces one that was not delivered. Nothing waits for it. Texts may come
from models: `vcs` escapes and cuts them. Addresses may be paths, which begin with `/`: `vcs` puts the
appliance's address before them, and leaves them out where it has none.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, case, delete, func, null, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.clock import has_come
from db.session import notify
from db.states import OutboxState
from db.vcs_models import OutboxSubject

CHANNEL = "outbox"
MAX_PAUSE = timedelta(hours=24)
STATUSES_KEPT = timedelta(days=30)
LEFT_FOR = timedelta(days=1)  # that the end of a state is tried in a repository that is followed no more
REFUSED_FOR = timedelta(days=3)  # that a state is tried which GitHub does not take
REFUSALS_SHOWN = timedelta(days=1)  # on the overview, where nothing more is tried
SHOWN_ATTEMPTS = 3  # failed ones until the overview has the reason

MAX_METRICS, MAX_LOG_LINES, MAX_LINE_CHARS = 200, 60, 500  # of a comment

StatusState = Literal["pending", "success", "failure", "error"]
GitHubDeploymentState = Literal["in_progress", "success", "failure", "inactive"]
Number = float | str | None  # text: one that JSON has no number for


class SubjectKind(StrEnum):
    STATUS = "status"
    COMMENT = "comment"
    DEPLOYMENT = "deployment"
    CHECK_RUN = "check_run"


OF_COMMITS = (SubjectKind.STATUS.value, SubjectKind.CHECK_RUN.value)
OPEN_STATES = ("pending", "queued", "in_progress")  # of these, until a commit's last one


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


def is_delivered_to(repositories: Collection[str]) -> ColumnElement[bool]:
    """Return the condition of subjects in these repositories, and of what has to end in others.

    A model that is followed no more may have left a state at GitHub that waits for its end.
    """
    old = OutboxSubject
    ends: ColumnElement[bool] = old.facts["state"].astext.not_in(OPEN_STATES)
    is_left = (
        ends
        & (old.kind != SubjectKind.COMMENT.value)
        & (old.delivered > 0)
        & (old.changed_at > func.now() - LEFT_FOR)
    )
    return old.repository.in_(repositories) | is_left


def claim_due(session: Session, repositories: Collection[str], lease_seconds: float) -> OutboxSubject | None:
    """Return a subject that is due, the longest due first, and defer it: nobody else delivers it meanwhile.

    Killed before it is settled, it is due again after `lease_seconds`.
    """
    found = session.scalar(
        select(OutboxSubject)
        .where(has_come(OutboxSubject.due_at, MAX_PAUSE), is_delivered_to(repositories))
        .order_by(OutboxSubject.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if found is not None:
        found.attempts += 1
        found.due_at = func.clock_timestamp() + timedelta(seconds=lease_seconds)
        session.flush()
        session.refresh(found)
    return found


def find_seconds_until_due(session: Session, repositories: Collection[str]) -> float | None:
    """Return the seconds until the next subject is due; None when none is."""
    next_due = select(func.extract("epoch", func.min(OutboxSubject.due_at) - func.clock_timestamp()))
    found = session.scalar(next_due.where(OutboxSubject.due_at.is_not(None), is_delivered_to(repositories)))
    return None if found is None else float(found)


def store_github_id(session: Session, subject: UUID, github_id: int) -> None:
    """Store what GitHub calls the copy that was made of a subject."""
    session.execute(update(OutboxSubject).where(OutboxSubject.id == subject).values(github_id=github_id))


def settle(session: Session, delivered: OutboxSubject, state: OutboxState, error: str | None = None) -> None:
    """Record how the delivery of a claimed subject ended; a state put meanwhile stays due.

    A refused one is due again as `defer` has it. Nothing more of a closed one is delivered, newer or not.
    """
    is_current = OutboxSubject.version == delivered.version
    closes = state is OutboxState.CLOSED
    session.execute(
        update(OutboxSubject)
        .where(OutboxSubject.id == delivered.id)
        .values(
            delivered=delivered.version if state is OutboxState.DELIVERED else OutboxSubject.delivered,
            state=state if closes else case((is_current, state.value), else_=OutboxSubject.state),
            due_at=null() if closes else case((is_current, null()), else_=OutboxSubject.due_at),
            attempts=0,
            error=error,
        )
    )


def defer(
    session: Session,
    failed: OutboxSubject,
    seconds: float,
    error: str,
    *,
    is_refused: bool = False,
    ends: bool = False,
) -> None:
    """Try a claimed subject again after a pause; a state put meanwhile stays due.

    With `ends`, a state that is older than `REFUSED_FOR` is not tried again.
    """
    state = OutboxState.REFUSED if is_refused else OutboxState.PENDING
    pause = min(timedelta(seconds=seconds), MAX_PAUSE)
    due_at = func.clock_timestamp() + pause
    if ends:
        due_at = case((OutboxSubject.changed_at < func.now() - REFUSED_FOR, null()), else_=due_at)
    session.execute(
        update(OutboxSubject)
        .where(OutboxSubject.id == failed.id, OutboxSubject.version == failed.version)
        .values(due_at=due_at, error=error, state=state)
    )


def retry_refused(session: Session) -> None:
    """Try again now what the token was not allowed to write: it may be another token."""
    refused = (OutboxSubject.state == OutboxState.REFUSED) & OutboxSubject.due_at.is_not(None)
    session.execute(update(OutboxSubject).where(refused).values(due_at=func.now()))


def list_errors(session: Session, repositories: Collection[str]) -> Sequence[str]:
    """Return why subjects are refused, or were not delivered in several attempts: each reason once."""
    is_due, is_new = OutboxSubject.due_at.is_not(None), OutboxSubject.changed_at > func.now() - REFUSALS_SHOWN
    is_refused = (OutboxSubject.state == OutboxState.REFUSED) & (is_due | is_new)
    is_late = is_due & (OutboxSubject.attempts >= SHOWN_ATTEMPTS)
    errors = select(OutboxSubject.error).where(
        OutboxSubject.repository.in_(repositories), OutboxSubject.error.is_not(None), is_refused | is_late
    )
    return sorted(error for error in session.scalars(errors.distinct()) if error)


def prune(session: Session) -> None:
    """Delete what is about commits and has not changed for a while, delivered or not; comments stay."""
    is_old = OutboxSubject.changed_at < func.now() - STATUSES_KEPT
    session.execute(delete(OutboxSubject).where(OutboxSubject.kind.in_(OF_COMMITS), is_old))
