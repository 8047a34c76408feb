"""A release's status and a decision's state change in the ways of `db.states`, and in one place."""

import ast
from itertools import product
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.models import Deployment, Release
from db.states import Cause, DeploymentState, Status, Trigger
from db.transitions import TransitionError, change_state, change_status, update_state, update_status

STATES = [state for state in DeploymentState if state is not DeploymentState.UNKNOWN]
STATUSES = [status for status in Status if status is not Status.UNKNOWN]
OTHER_TABLES = {
    "scores.py",
    "outbox.py",
    "outbox_delivery.py",
    "pull_requests.py",
    "notification_deliveries.py",
}  # whose columns have the same names


def make_release(status: Status) -> Release:
    return Release(model="m", repository="a/m", commit="1" * 40, status=status, trigger=Trigger.MANUAL)


@pytest.mark.parametrize(("before", "after"), list(product(STATUSES, STATUSES)))
def test_a_release_gets_no_status_that_it_cannot_get(before: Status, after: Status) -> None:
    release = make_release(before)
    if after in before.next:
        change_status(release, after, "why")
        assert (release.status, release.reason) == (after, "why")
    else:
        with pytest.raises(TransitionError, match=f"{before}, and cannot become {after}"):
            change_status(release, after, "why")


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_a_decision_gets_no_state_that_it_cannot_get(before: DeploymentState, after: DeploymentState) -> None:
    deployment = Deployment(model="m", cause=Cause.OPERATOR, who="dana", state=before)
    if after in before.next:
        change_state(deployment, after, None)
        assert deployment.state is after
    else:
        with pytest.raises(TransitionError, match=f"{before}, and cannot become {after}"):
            change_state(deployment, after, None)


def test_a_statement_leaves_out_what_cannot_get_its_status(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        releases = [make_release(status) for status in STATUSES]
        session.add_all(releases)
        session.flush()
        session.add_all(
            Deployment(model="m", release_id=releases[0].id, cause=Cause.OPERATOR, who="dana", state=state)
            for state in STATES
        )
        session.flush()
        for after in STATUSES:
            changed = session.scalars(update_status(after, reason="changed").returning(Release.id)).all()
            can = [one.id for one, was in zip(releases, STATUSES, strict=True) if after in {was, *was.next}]
            assert sorted(changed) == can
            for release, was in zip(releases, STATUSES, strict=True):
                release.status = was
            session.flush()
        ended = session.scalars(update_state(DeploymentState.FAILED, "it broke").returning(Deployment.id))
        assert len(ended.all()) == 1


def test_statuses_and_states_are_written_in_one_place() -> None:
    for path in Path("db").glob("*.py"):
        if path.name in OTHER_TABLES | {"transitions.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                written = node.attr in ("status", "state")
            else:
                is_values = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".values")
                names = [each.arg for each in node.keywords] if isinstance(node, ast.Call) else []
                written = is_values and bool({"status", "state"} & set(names))
            assert not written, f"{path}, line {node.lineno}: use db.transitions"
