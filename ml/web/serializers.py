"""Releases, their stages, deployments and scores as JSON, for the API and the pages."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from common.figures import relative_change
from common.problems import ProblemError
from db import deployment_history, deployments, mlflow_state, releases, rollbacks
from db.models import Deployment, Release, Score, Stage
from db.retraining_models import Retraining, RetrainingPlan
from db.states import DeploymentState, Trigger
from ml.web.metric_order import order_metrics

Document = dict[str, Any]


def format_time(moment: datetime | None) -> str | None:
    """Return a time as HTTP clients get it: UTC, to the millisecond."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")


def find_release(session: Session, number: int) -> Release:
    """Return a release with its stages; raises a 404 that names the list of releases."""
    release = releases.find(session, number) if abs(number) < 2**31 else None
    if release is None:
        raise ProblemError(404, "No such release", f"There is no release {number}; GET /releases lists them.")
    return release


def serialize_summaries(session: Session, found_releases: Sequence[Release]) -> list[Document]:
    """Return each release as lists have it."""
    live = {
        model: deployments.find_live(session, model)
        for model in {release.model for release in found_releases}
    }
    failed = deployment_history.find_failed_starts(session, found_releases)
    return [
        serialize_summary(release, live[release.model], failed.get(release.id)) for release in found_releases
    ]


def find_failed(found: Sequence[Document]) -> dict[int, str]:
    """Return the reason of each release that failed to start, by its number."""
    return {one["id"]: one["failed_to_start"] for one in found if one["failed_to_start"] is not None}


def serialize_summary(release: Release, live: Deployment | None, not_started: str | None) -> Document:
    """Return a release as lists have it; `not_started` is why it could not replace the live one."""
    return {
        "id": release.id,
        "model": release.model,
        "commit": release.commit,
        "pull_request": release.pull_request,
        "title": release.title,
        "author": release.author,
        "trigger": release.trigger,
        "status": release.status,
        "reason": release.reason,
        "failed_to_start": not_started,
        "metrics": order_metrics(release),
        "info": release.info,
        "created_at": format_time(release.created_at),
        "finished_at": format_time(release.finished_at),
        "live": live is not None and live.release_id == release.id,
    }


def serialize_release(session: Session, release: Release) -> Document:
    """Return all that is stored of a release, compared with the live one; `release` has its stages loaded."""
    live = deployments.find_live(session, release.model)
    decisions = deployment_history.list_deployments(session, release.model, release=release.id)
    newest = next(iter(decisions), None)
    not_started = (newest.reason or "") if newest and newest.state is DeploymentState.FAILED else None
    return {
        **serialize_summary(release, live, not_started),
        "ref": release.ref,
        "requested_by": release.requested_by,
        "warm_start": release.warm_start,
        "check": serialize_check(release),
        "trained_by": release.trained_by,
        "drift_source": release.drift_source,
        "started_at": format_time(release.started_at),
        "pruned_at": format_time(release.pruned_at),
        "differences": release.differences,
        "verdict": release.verdict,
        "comparison": compare_with_live(release, live),
        "stages": [serialize_stage(stage) for stage in release.stages],
        "deployment": serialize_deployment(decisions[0]) if decisions else None,
        "deployments": [serialize_deployment(decision) for decision in decisions],
        "hold": release.hold,
        "quarantine": serialize_quarantine(session, release),
        "mlflow": serialize_mlflow(session, release),
    }


def serialize_check(release: Release) -> Document | None:
    """Return what a check is of: its head is the commit; None for other releases."""
    if release.trigger is not Trigger.CHECK:
        return None
    return {"base": release.base, "tree": release.tree, "fork": release.is_fork}


def serialize_mlflow(session: Session, release: Release) -> Document | None:
    """Return the release's run and version in MLflow; None when it is not exported yet, or MLflow is off."""
    exported = mlflow_state.find_run(session, release.id)
    if exported is None or exported.run is None:
        return None
    return {
        "experiment": exported.experiment,
        "run": exported.run,
        "version": exported.version,
        "told_at": format_time(exported.told_at),
        "trouble": exported.trouble,
    }


def compare_with_live(release: Release, live: Deployment | None) -> Document | None:
    """Return its metrics next to those of the live release; None where there is nothing to compare."""
    if live is None or live.release_id == release.id or not release.metrics:
        return None
    others = live.release.metrics or {}
    metrics = {
        name: {"value": value, "live": others.get(name), "change": relative_change(value, others.get(name))}
        for name, value in release.metrics.items()
    }
    return {"release": live.release_id, "commit": live.release.commit, "metrics": metrics}


def serialize_quarantine(session: Session, release: Release) -> Document | None:
    found = rollbacks.find_quarantine(session, release)
    if found is None:
        return None
    covered = "commit" if found.covers_commit else "release"
    return {"of": covered, "why": found.why, "since": format_time(found.since)}


def serialize_stage(stage: Stage) -> Document:
    return {
        "name": stage.name,
        "started_at": format_time(stage.started_at),
        "ended_at": format_time(stage.ended_at),
        "outcome": stage.outcome,
    }


def serialize_deployment(deployment: Deployment) -> Document:
    return {
        "id": deployment.id,
        "model": deployment.model,
        "release": deployment.release_id,
        "cause": deployment.cause,
        "who": deployment.who,
        "why": deployment.why,
        "state": deployment.state,
        "reason": deployment.reason,
        "leaves": deployment.leaves,
        "created_at": format_time(deployment.created_at),
        "live_at": format_time(deployment.live_at),
    }


def serialize_score(score: Score) -> Document:
    return {
        "id": score.id,
        "model": score.model,
        "release": score.release_id,
        "requested_by": score.requested_by,
        "status": score.status,
        "reason": score.reason,
        "metrics": score.metrics,
        "created_at": format_time(score.created_at),
        "finished_at": format_time(score.finished_at),
    }


def serialize_retraining(made: Retraining, release: Release | None) -> Document:
    """Return a retraining with the release that it made: `status` and `ended` are that one's."""
    reason = release.reason if release is not None else None
    return {
        "id": made.id,
        "model": made.model,
        "trigger": made.trigger,
        "reason": made.reason,
        "scheduled_at": format_time(made.scheduled_at),
        "state": made.state,
        "outcome": made.outcome or reason,
        "commit": made.commit,
        "live_release": made.live_release,
        "release": made.release_id,
        "status": release.status if release is not None else None,
        "ended": release.status.has_ended if release is not None else made.ended_at is not None,
        "requested_by": made.requested_by,
        "created_at": format_time(made.created_at),
        "ended_at": format_time(release.finished_at if release is not None else made.ended_at),
    }


def serialize_pause(plan: RetrainingPlan) -> Document | None:
    """Return by whom and since when a model's retraining is paused; None where it is not."""
    if plan.paused_at is None:
        return None
    return {"who": plan.paused_by, "why": plan.paused_why, "since": format_time(plan.paused_at)}
