"""What people are told of releases and decisions, where they change, in the same transaction."""

from typing import Any

from sqlalchemy.orm import Session

from db import notifications
from db.models import Deployment, Release
from db.notifications import Event
from db.states import RETRAIN_TRIGGERS, Cause, Status, Trigger

ENDS = {Status.REJECTED: Event.REJECTED, Status.FAILED: Event.FAILED}


def tell_ended(session: Session, release_id: int) -> None:
    """Tell that a release was rejected or failed, or that a retrained one waits for a person.

    A check is told of on its pull request alone.
    """
    release = session.get_one(Release, release_id, populate_existing=True)
    if release.status is Status.PASSED and release.trigger in RETRAIN_TRIGGERS:
        facts = describe_retrained(release) | {"outcome": "passed", "waits": release.reason}
        notifications.put_event(session, Event.RETRAINED, f"release {release.id}", facts)
        return
    event = ENDS.get(release.status)
    if event is not None and release.trigger is not Trigger.CHECK:
        facts = describe_release(release) | {"reason": release.reason}
        notifications.put_event(session, event, f"release {release.id}", facts)


def tell_live(session: Session, live: Deployment, replaced: Deployment | None) -> None:
    """Tell that a release is live; what was not delivered about an earlier one is not true any more.

    That a retraining has ended, and that its release is live, is one thing.
    """
    end_nothing_live(session, live.model)
    release = session.get_one(Release, live.release_id)
    who = {"who": live.who, "replaced": replaced and replaced.release_id}
    if release.trigger in RETRAIN_TRIGGERS and live.cause is Cause.GATE:
        event, facts = Event.RETRAINED, describe_retrained(release) | who | {"outcome": "live"}
    else:
        event, facts = Event.LIVE, describe_release(release) | who
    notifications.put_event(session, event, f"live {live.model}", facts)


def tell_rolled_back(session: Session, left: Deployment, rollback: Deployment) -> None:
    """Tell that a release was rolled back, and why: that another is live is a part of that."""
    end_nothing_live(session, left.model)
    notifications.withdraw(session, f"live {left.model}")
    facts = describe_release(left.release) | {
        "reason": rollback.why,
        "who": rollback.who,
        "cause": str(rollback.cause),
        "back_to": rollback.release_id,
    }
    notifications.put_event(session, Event.ROLLED_BACK, f"rollback {rollback.id}", facts)


def tell_not_started(session: Session, failed: Deployment, reason: str, live: Deployment | None) -> None:
    """Tell that a release that passed the gate could not start, and whether anything is live."""
    if live is None:
        tell_nothing_live(session, failed.release, reason)
    else:
        facts = describe_release(failed.release) | {"reason": f"it could not start: {reason}"}
        notifications.put_event(session, Event.FAILED, f"deployment {failed.id}", facts)


def tell_nothing_live(session: Session, release: Release, reason: str) -> None:
    """Tell that nothing of a model answers, as this release cannot start."""
    facts = describe_release(release) | {"reason": reason}
    notifications.begin_state(session, Event.NOTHING_LIVE, f"nothing live {release.model}", facts)


def end_nothing_live(session: Session, model: str) -> None:
    notifications.end_state(session, f"nothing live {model}")


def describe_retrained(release: Release) -> dict[str, Any]:
    return describe_release(release) | {"reason": release.title}


def describe_release(release: Release) -> dict[str, Any]:
    return {
        "model": release.model,
        "release": release.id,
        "repository": release.repository,
        "commit": release.commit,
        "pull_request": release.pull_request,
        "trigger": str(release.trigger),
    }
