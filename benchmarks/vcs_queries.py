"""Queries of `vcs`: each sync, each delivery of a webhook, and what GitHub is told."""

from sqlalchemy.orm import Session

from benchmarks.query_plans import Query
from db import appliance, clone_tokens, merge_groups, outbox, outbox_delivery, pull_requests, rechecks
from db.checks import MAX_OPEN
from db.states import OutboxState
from db.vcs_models import OutboxSubject


def vcs_queries(repository: str, model: str, lately: str) -> dict[str, Query]:
    """Return them by name; `lately` is since when a sync counts merges."""
    return {
        "sync: its bookmark": lambda s: pull_requests.load_state(s, repository),
        "sync: what is new": lambda s: pull_requests.count_accepted(s, repository, "main", lately),
        "sync: what is open": lambda s: pull_requests.digest_open(s, repository, MAX_OPEN),
        "sync: the newest merge": lambda s: pull_requests.list_accepted(s, repository, "main", 1),
        "sync: its new bookmark": lambda s: pull_requests.save_state(s, repository, {"newest": {}}),
        "sync: its outcome": lambda s: appliance.set_problem(s, "github", "GitHub is away"),
        "sync: a webhook's delivery": lambda s: pull_requests.record_delivery(s, "new"),
        "sync: a pending delivery": lambda s: pull_requests.has_unsynced_delivery(s, [repository]),
        "webhook: the merge queue": lambda s: merge_groups.record_event(s, repository),
        "webhook: a check again": lambda s: check_again(s, repository, model),
        "tokens: of clones": lambda s: renew_token(s, repository),
        "outbox: put a status": lambda s: put_status(s, repository, model),
        "outbox: deliver what is due": lambda s: delivered(s, repository, model),
        "outbox: defer what is refused": lambda s: refused(s, repository, model),
        "outbox: when the next is due": lambda s: outbox_delivery.find_seconds_until_due(s, [repository]),
        "outbox: what is refused": lambda s: outbox_delivery.list_errors(s, [repository]),
        "outbox: another token": outbox_delivery.retry_refused,
        "outbox: prune": outbox_delivery.prune,
    }


def check_again(session: Session, repository: str, model: str) -> None:
    rechecks.request_recheck(session, repository, "f" * 40, model)
    rechecks.take_requests(session, model)


def renew_token(session: Session, repository: str) -> None:
    clone_tokens.store_token(session, repository, "t", 3600)
    clone_tokens.find_token(session, repository)
    clone_tokens.delete_tokens(session, kept=(repository,))


def put_status(session: Session, repository: str, model: str) -> None:
    outbox.put_status(
        session, repository=repository, commit="f" * 40, model=model, state="success", description="passed"
    )


def claimed(session: Session, repository: str, model: str) -> OutboxSubject:
    put_status(session, repository, model)
    found = outbox_delivery.claim_due(session, [repository], 60)
    assert found is not None
    return found


def delivered(session: Session, repository: str, model: str) -> None:
    subject = claimed(session, repository, model)
    outbox_delivery.store_github_id(session, subject.id, 1)
    outbox_delivery.settle(session, subject, OutboxState.DELIVERED)


def refused(session: Session, repository: str, model: str) -> None:
    outbox_delivery.defer(session, claimed(session, repository, model), 60, "not allowed", is_refused=True)
