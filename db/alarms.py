"""Alarms of the monitor for which a model is to be trained again: each once, until its data changes."""

import hashlib
import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Release
from db.monitor_models import MonitorState
from db.retraining_models import Retraining
from db.retrainings import Occasion
from db.states import RetrainingState, Trigger

BEGUN = (RetrainingState.WAITING, RetrainingState.STARTED, RetrainingState.UNCHANGED)


def find_alarm(session: Session, model: str, release: int, trigger: Trigger) -> Occasion | None:
    """Return the alarm that a live release drifts or decays; None where none lasts, or it is quiet.

    It is quiet once it, or the other one, has led to a retraining: until a release is live that was trained
    on other data.
    """
    state = session.get(MonitorState, model, populate_existing=True)
    if state is None or state.release_id != release:
        return None
    is_drift = trigger is Trigger.DRIFT
    reason = state.drift_reason if is_drift else state.decay_reason
    if (state.drift_since if is_drift else state.decay_since) is None:
        return None
    data = digest_data(session.get_one(Release, release).data)
    if has_led_to_retraining(session, model, data):
        return None
    what = "the requests have changed" if is_drift else "the predictions have become worse"
    return Occasion(trigger, f"{data} {release}", f"{what}: {reason}" if reason else what)


def has_led_to_retraining(session: Session, model: str, data: str) -> bool:
    of_alarm = (Retraining.model == model) & Retraining.trigger.in_((Trigger.DRIFT, Trigger.DECAY))
    was_begun = Retraining.state.in_(BEGUN) | Retraining.release_id.is_not(None)
    same = Retraining.occasion.startswith(f"{data} ", autoescape=True)
    return bool(session.scalar(select(select(Retraining.id).where(of_alarm, same, was_begun).exists())))


def digest_data(data: dict[str, Any] | None) -> str:
    """Return a digest of the data that a release was trained and judged on."""
    digests = {name: one.get("sha256") for name, one in (data or {}).items() if isinstance(one, dict)}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:32]
