"""How releases, their stages and deployments look as JSON, here and on the pages."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from common.problems import Problem
from db import deployments, releases, tracking
from db.models import Deployment, Release, Score, Stage
from ml.api.metrics import in_order

Document = dict[str, Any]


def iso(moment: datetime | None) -> str | None:
    """Times over HTTP: UTC, to the millisecond."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")


def find(session: Session, number: int) -> Release:
    """A release with its stages; raises a 404 that says where to look."""
    known = releases.find(session, number) if abs(number) < 2**31 else None
    if known is None:
        raise Problem(404, "No such release", f"There is no release {number}; GET /releases lists them.")
    return known


def summaries(session: Session, found: Sequence[Release]) -> list[Document]:
    """What a list says of each release."""
    live = {model: deployments.live(session, model) for model in {release.model for release in found}}
    return [summary(release, live[release.model]) for release in found]


def summary(release: Release, live: Deployment | None) -> Document:
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
        "metrics": in_order(release),
        "info": release.info,
        "created_at": iso(release.created_at),
        "finished_at": iso(release.finished_at),
        "live": live is not None and live.release_id == release.id,
    }


def whole(session: Session, release: Release) -> Document:
    """All that is kept of a release, beside what is live; `release` comes with its stages."""
    live = deployments.live(session, release.model)
    decisions = deployments.history(session, release.model, release=release.id)
    return {
        **summary(release, live),
        "ref": release.ref,
        "requested_by": release.requested_by,
        "warm_start": release.warm_start,
        "started_at": iso(release.started_at),
        "pruned_at": iso(release.pruned_at),
        "differences": release.differences,
        "verdict": release.verdict,
        "comparison": comparison(release, live),
        "stages": [stage(known) for known in release.stages],
        "deployment": deployment(decisions[0]) if decisions else None,
        "deployments": [deployment(known) for known in decisions],
        "hold": release.hold,
        "quarantine": quarantine(session, release),
        "mlflow": mlflow(session, release),
    }


def mlflow(session: Session, release: Release) -> Document | None:
    """What MLflow knows of it; None when it was not told of it yet, or is off."""
    known = tracking.of(session, release.id)
    if known is None or known.run is None:
        return None
    return {
        "experiment": known.experiment,
        "run": known.run,
        "version": known.version,
        "told_at": iso(known.told_at),
        "trouble": known.trouble,
    }


def comparison(release: Release, live: Deployment | None) -> Document | None:
    """Its metrics beside those of what is live now; None where there is nothing to compare."""
    if live is None or live.release_id == release.id or not release.metrics:
        return None
    others = live.release.metrics or {}
    metrics = {
        name: {"value": value, "live": others.get(name), "change": change(value, others.get(name))}
        for name, value in release.metrics.items()
    }
    return {"release": live.release_id, "commit": live.release.commit, "metrics": metrics}


def change(value: float, live: float | None) -> float | None:
    """As a part of what live has: 0.05 is 5 % more."""
    return (value - live) / abs(live) if live else None


def quarantine(session: Session, release: Release) -> Document | None:
    known = deployments.quarantined(session, release.model, release.commit)
    return {"why": known.why, "since": iso(known.since)} if known else None


def stage(known: Stage) -> Document:
    return {
        "name": known.name,
        "started_at": iso(known.started_at),
        "ended_at": iso(known.ended_at),
        "outcome": known.outcome,
    }


def deployment(known: Deployment) -> Document:
    return {
        "id": known.id,
        "model": known.model,
        "release": known.release_id,
        "cause": known.cause,
        "who": known.who,
        "why": known.why,
        "state": known.state,
        "reason": known.reason,
        "created_at": iso(known.created_at),
        "live_at": iso(known.live_at),
    }


def score(known: Score) -> Document:
    return {
        "id": known.id,
        "model": known.model,
        "release": known.release_id,
        "requested_by": known.requested_by,
        "status": known.status,
        "reason": known.reason,
        "metrics": known.metrics,
        "created_at": iso(known.created_at),
        "finished_at": iso(known.finished_at),
    }
