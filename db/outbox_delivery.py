"""How `vcs` takes subjects out of the outbox: what is due, what became of it, what is pruned."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, case, delete, func, null, select, update
from sqlalchemy.orm import Session

from db.clock import has_come
from db.outbox import SubjectKind
from db.states import OutboxState
from db.vcs_models import OutboxSubject

MAX_PAUSE = timedelta(hours=24)
STATUSES_KEPT = timedelta(days=30)
LEFT_FOR = timedelta(days=1)  # that the end of a state is tried in a repository that is followed no more
REFUSED_FOR = timedelta(days=3)  # that a state is tried which GitHub does not take
REFUSALS_SHOWN = timedelta(days=1)  # on the overview, where nothing more is tried
SHOWN_ATTEMPTS = 3  # failed ones until the overview has the reason
OPEN_STATES = ("pending", "queued", "in_progress")  # of these, until a commit's last one
OF_COMMITS = (SubjectKind.STATUS.value, SubjectKind.CHECK_RUN.value)


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
