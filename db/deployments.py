"""Decisions about which release a model serves, and their deployments."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, func, select, text, update
from sqlalchemy.orm import Session, joinedload

from db import github_deployments, release_events, rollbacks
from db.models import Deployment, Release
from db.session import notify
from db.states import Cause, DeploymentState, Status, Trigger
from db.superseding import end_retrainings
from db.transitions import change_state, change_status, update_state


class ConflictError(Exception):
    """A conflict: somebody decided for this model, or another release went live, since the snapshot."""


class RefusedError(Exception):
    """A decision that cannot be made; the text is the reason, for the person who requested it."""


@dataclass(frozen=True)
class DeploymentSnapshot:
    """The deployments of a model that a decider saw: their ids, None where there was none."""

    newest: int | None  # of any state
    baseline: int | None


def lock_model(session: Session, model: str) -> None:
    """Lock a model's decisions until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('deployments'), hashtext(:m))"), {"m": model})


def take_snapshot(session: Session, model: str) -> DeploymentSnapshot:
    """Return the newest decision of any state and the baseline, as they are now."""
    newest = session.scalar(select(func.max(Deployment.id)).where(Deployment.model == model))
    baseline = find_baseline(session, model)
    return DeploymentSnapshot(newest, baseline.id if baseline else None)


def create_decision(
    session: Session,
    model: str,
    release_id: int,
    cause: Cause,
    *,
    who: str,
    why: str | None,
    snapshot: DeploymentSnapshot | None,
) -> Deployment:
    """Decide for `release_id`; raises `ConflictError` when `snapshot` (None: not checked) is outdated."""
    lock_model(session, model)
    if snapshot is not None and take_snapshot(session, model) != snapshot:
        raise ConflictError
    made = Deployment(model=model, release_id=release_id, cause=cause, who=who, why=why)
    return _insert_wanted(session, made)


def _insert_wanted(session: Session, made: Deployment) -> Deployment:
    """Insert a decision, which overrules the one not yet followed; the caller holds the lock."""
    overruled = _end_wanted(
        session,
        Deployment.model == made.model,
        DeploymentState.OVERRULED,
        "a newer decision was made before it was live",
    )
    for release_id in overruled:
        github_deployments.show_overruled(session, release_id, find_live(session, made.model))
    session.add(made)
    session.flush()
    github_deployments.show_wanted(session, made)
    notify(session, "deployments", made.model)
    return made


def _end_wanted(
    session: Session, which: ColumnElement[bool], state: DeploymentState, reason: str
) -> Sequence[int]:
    """End wanted deployments that never were live; return their releases."""
    ended = update_state(state, reason).where(which)
    return session.scalars(ended.returning(Deployment.release_id)).all()


def deploy(
    session: Session, release: Release, *, who: str, why: str | None, cause: Cause = Cause.OPERATOR
) -> Deployment:
    """Decide by hand for a release that was built; this ends its quarantine.

    Raises `RefusedError` for a release that has no artifact to serve.
    """
    lock_model(session, release.model)
    session.refresh(release)
    if release.trigger is Trigger.CHECK:
        raise RefusedError(
            f"release {release.id} is a check of pull request #{release.pull_request}: "
            "merge that, and what was checked goes live"
        )
    if release.status not in (Status.DEPLOYED, Status.PASSED):
        raise RefusedError(
            f"release {release.id} is {release.status}: only one that passed the gate can be deployed"
        )
    if release.pruned_at is not None:
        raise RefusedError(f"the trained model of release {release.id} was pruned: train it again")
    rollbacks.end_quarantine(session, release)
    if release.status is Status.PASSED:
        change_status(release, Status.DEPLOYED, None)
    return create_decision(session, release.model, release.id, cause, who=who, why=why, snapshot=None)


def roll_back(session: Session, model: str, *, cause: Cause, who: str, why: str | None) -> Deployment:
    """Decide for the newest once-live release before the live one.

    Once that is live, and not before, what was replaced goes into quarantine, and releases queued or being
    built at this moment stop at `passed`. A target that cannot start is skipped for the next older one.
    Raises `RefusedError` when there is no release to go back to.
    """
    lock_model(session, model)
    left = find_live(session, model)
    if left is None:
        raise RefusedError(f"nothing of {model} is live: there is nothing to roll back")
    target = rollbacks.find_target(session, left)
    if target is None:
        raise RefusedError(
            f"no other release of {model} was live before and can be again: merge a fix instead"
        )
    newest = session.scalar(select(func.max(Release.id)).where(Release.model == model))
    made = Deployment(model=model, release_id=target.id, cause=cause, who=who, why=why)
    made.leaves, made.holds_until = left.id, newest
    return _insert_wanted(session, made)


def is_on_hold(session: Session, release: Release) -> bool:
    """Return whether a pending rollback stops this release once it is live; the caller holds the lock."""
    newest = find_wanted(session, release.model)
    return newest is not None and newest.holds_until is not None and release.id <= newest.holds_until


def auto_roll_back(session: Session, deployment: Deployment, why: str) -> Deployment | None:
    """Roll back a live release automatically; None if somebody decided since. Raises `RefusedError`."""
    lock_model(session, deployment.model)
    current = find_live(session, deployment.model)
    if current is None or current.id != deployment.id or find_wanted(session, deployment.model) is not None:
        return None
    return roll_back(session, deployment.model, cause=Cause.AUTOMATIC_ROLLBACK, who="slipway", why=why)


def is_first(session: Session, deployment: Deployment) -> bool:
    """Return whether no earlier deployment has brought this release to users."""
    brought = (Deployment.release_id == deployment.release_id) & Deployment.live_at.is_not(None)
    return not session.scalar(select(exists().where(brought, Deployment.id < deployment.id)))


def is_live_for_less(session: Session, deployment: Deployment, age: timedelta) -> bool:
    """Return whether a deployment is live for less than `age`, by Postgres's clock."""
    young = Deployment.live_at > func.now() - age
    return bool(session.scalar(select(young).where(Deployment.id == deployment.id)))


def find_live(session: Session, model: str) -> Deployment | None:
    """Return the live deployment, the newest that reached `live`, with its release."""
    return session.scalar(
        select(Deployment)
        .where(Deployment.model == model, Deployment.state == DeploymentState.LIVE)
        .options(joinedload(Deployment.release))
        .order_by(Deployment.id.desc())
        .limit(1)
    )


def find_wanted(session: Session, model: str) -> Deployment | None:
    """Return the newest decision if it is still pending, with its release."""
    is_live = select(func.coalesce(func.max(Deployment.id), 0)).where(
        Deployment.model == model, Deployment.state == DeploymentState.LIVE
    )
    return session.scalar(
        select(Deployment)
        .where(Deployment.model == model, Deployment.state == DeploymentState.WANTED)
        .where(Deployment.id > is_live.scalar_subquery())
        .options(joinedload(Deployment.release))
        .order_by(Deployment.id.desc())
        .limit(1)
    )


def find_baseline(session: Session, model: str) -> Deployment | None:
    """Return the deployment to compare a new release with, and its release: the wanted, else the live one."""
    return find_wanted(session, model) or find_live(session, model)


def mark_live(session: Session, deployment: Deployment) -> datetime | None:
    """Record that a deployment is live; return since when, None where it was overruled meanwhile.

    Safe to repeat for a live deployment. A rollback takes effect with this.
    """
    lock_model(session, deployment.model)
    current = session.get_one(Deployment, deployment.id, populate_existing=True)
    if current.state is DeploymentState.WANTED:
        replaced = find_live(session, current.model)
        change_state(current, DeploymentState.LIVE, None)
        current.live_at = func.clock_timestamp()
        session.flush()
        github_deployments.show_live(session, current, replaced)
        commit = session.get_one(Release, current.release_id).commit
        end_retrainings(session, current.model, f"commit {commit[:8]} went live", except_of=commit)
        if current.leaves is not None:
            _quarantine_rolled_back(
                session,
                current,
                session.get_one(Deployment, current.leaves, options=[joinedload(Deployment.release)]),
            )
        else:
            release_events.tell_live(session, current, replaced)
            rollbacks.end_quarantine(session, session.get_one(Release, current.release_id))
        notify(session, "live", current.model)
    elif current.state is DeploymentState.LIVE:  # it was restored
        release_events.end_nothing_live(session, current.model)
    newest = find_live(session, deployment.model)
    if newest is not None and newest.id == deployment.id:
        github_deployments.show_followed_again(session, newest)
    return newest.live_at if newest is not None and newest.id == deployment.id else None


def _quarantine_rolled_back(session: Session, rollback: Deployment, left: Deployment) -> None:
    """Quarantine what was rolled back, and stop or hold the releases in progress when that was decided."""
    github_deployments.show_rolled_back(session, left, rollback)
    release_events.tell_rolled_back(session, left, rollback)
    rollbacks.quarantine(session, left, rollback.why)
    end_retrainings(session, left.model, f"release {left.release_id} was rolled back")
    session.execute(
        update(Release)
        .where(Release.model == left.model, Release.id <= rollback.holds_until)
        .where(Release.status.in_((Status.QUEUED, Status.BUILDING)), Release.trigger != Trigger.CHECK)
        .values(hold=f"release {left.release_id} was rolled back while it was on its way: deploy it by hand")
    )


def show_unfollowed(session: Session, models: Collection[str]) -> None:
    """Have GitHub show that nothing is served of models that are not among these."""
    is_shown = Deployment.state.in_((DeploymentState.LIVE, DeploymentState.WANTED))
    unfollowed = select(Deployment.model).where(is_shown, Deployment.model.not_in(models)).distinct()
    for model in session.scalars(unfollowed).all():
        for deployment in (find_live(session, model), find_wanted(session, model)):
            if deployment is not None:
                github_deployments.show_unfollowed(session, deployment.release_id)


def mark_failed(session: Session, deployment: Deployment, reason: str) -> None:
    """Record that a deployment could not start, and why; the live one stays live.

    A rollback goes on to the next older release.
    """
    lock_model(session, deployment.model)
    current = session.get_one(
        Deployment, deployment.id, options=[joinedload(Deployment.release)], populate_existing=True
    )
    following = None
    if current.state is DeploymentState.WANTED and current.leaves is not None:
        left = session.get_one(Deployment, current.leaves, options=[joinedload(Deployment.release)])
        following = rollbacks.find_target(session, left, tried=current.release)
    if following is not None:
        reason = f"{reason}; the rollback goes on to release {following.id}"
    is_ended = bool(_end_wanted(session, Deployment.id == current.id, DeploymentState.FAILED, reason))
    if is_ended:
        live = find_live(session, current.model)
        github_deployments.show_failed(session, current, reason, live)
        if following is None:
            release_events.tell_not_started(session, current, reason, live)
    if is_ended and following is not None:
        made = Deployment(model=current.model, release_id=following.id, cause=current.cause, who=current.who)
        made.why, made.leaves, made.holds_until = current.why, current.leaves, current.holds_until
        _insert_wanted(session, made)
    notify(session, "live", current.model)


def record_not_restored(session: Session, deployment: Deployment, reason: str) -> None:
    """Record that the live release cannot be brought back, so that nothing of its model answers."""
    lock_model(session, deployment.model)
    live = find_live(session, deployment.model)
    if live is not None and live.id == deployment.id:
        release_events.tell_nothing_live(session, live.release, reason)
