"""Every change of the status or state of a release, a decision or a retraining, held to `states`."""

from typing import Any

from sqlalchemy import Update, update

from db.models import Deployment, Release
from db.retraining_models import Retraining
from db.states import DeploymentState, RetrainingState, Status


class TransitionError(Exception):
    """A change of state that is a bug: no way leads from the one to the other."""


def change_status(release: Release, status: Status, reason: str | None) -> None:
    """Change the status of a loaded release; raises `TransitionError` for one that it cannot get."""
    if status not in release.status.next:
        raise TransitionError(f"release {release.id} is {release.status}, and cannot become {status}")
    release.status, release.reason = status, reason


def change_state(deployment: Deployment, state: DeploymentState, reason: str | None) -> None:
    """Change the state of a loaded decision; raises `TransitionError` for one that it cannot get."""
    if state not in deployment.state.next:
        raise TransitionError(f"deployment {deployment.id} is {deployment.state}, and cannot become {state}")
    deployment.state, deployment.reason = state, reason


def update_status(status: Status, **facts: Any) -> Update:
    """Return a statement that gives this status to releases that can get it, or have it."""
    can_get = Release.status.in_({status, *status.previous})
    return update(Release).where(can_get).values(status=status, **facts)


def update_state(state: DeploymentState, reason: str) -> Update:
    """Return a statement that gives this state to decisions that can get it."""
    return update(Deployment).where(Deployment.state.in_(state.previous)).values(state=state, reason=reason)


def update_retraining(state: RetrainingState, **facts: Any) -> Update:
    """Return a statement that gives this state to retrainings that can get it."""
    return update(Retraining).where(Retraining.state.in_(state.previous)).values(state=state, **facts)
