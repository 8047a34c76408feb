"""The GitHub check run of a commit, in the outbox: where a GitHub App is set, beside its commit status."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from sqlalchemy import delete
from sqlalchemy.orm import Session

from db import appliance, outbox
from db.outbox import CommentFacts, SubjectKind
from db.vcs_models import OutboxSubject

MAX_ANNOTATIONS = 50  # GitHub's, of one request

CheckRunState = Literal[
    "queued", "in_progress", "success", "skipped", "failure", "cancelled", "action_required"
]


@dataclass(frozen=True)
class Annotation:
    """A line of a file of the repository, with what a traceback says of it."""

    path: str
    line: int
    message: str


def put_check_run(
    session: Session,
    *,
    repository: str,
    commit: str,
    model: str,
    check: int,
    state: CheckRunState,
    facts: CommentFacts,
    annotations: Sequence[Annotation] = (),
) -> None:
    """Have GitHub show this check run of a commit, as `slipway/<model>`; do nothing without a GitHub App.

    `check` is the release that it is about, 0 for none: annotations of an earlier one cannot be taken away,
    so that the next one gets a check run of its own.
    """
    if not appliance.has_app(session):
        return
    document = asdict(outbox.cut_facts(facts)) | {
        "state": state,
        "commit": commit,
        "head": commit,
        "model": model,
        "check": check,
        "annotations": [asdict(one) for one in annotations[:MAX_ANNOTATIONS]],
    }
    outbox.put_subject(session, SubjectKind.CHECK_RUN, f"{commit} {model}", repository, document)


def show_again(session: Session, repository: str, commit: str, model: str) -> None:
    """Have GitHub show the check run of a commit once more, where it has one.

    "Re-run" takes the conclusion from the check suite: without an answer that waits for ever.
    """
    outbox.show_again(session, SubjectKind.CHECK_RUN, repository, f"{commit} {model}")


def delete_check_runs(session: Session) -> None:
    """Forget all check runs: without a GitHub App nobody can write them."""
    session.execute(delete(OutboxSubject).where(OutboxSubject.kind == SubjectKind.CHECK_RUN.value))
