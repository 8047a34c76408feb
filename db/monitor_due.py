"""Which models are to be measured: live ones of which there is something new."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.ground_truth_models import GroundTruth
from db.monitor_models import MonitorState
from db.request_log import MAX_CLOCK_ERROR
from db.request_log_models import RecordedRequest
from db.retraining_plans import LiveModel
from db.session import read_time

TRUTH_INTERVALS = 4  # without new requests: ground truth comes later than they do


@dataclass(frozen=True)
class DueModel:
    """A model to measure, and its newest row: what comes later is new."""

    live: LiveModel
    newest: datetime


def list_due(session: Session, live: Mapping[str, LiveModel], interval: timedelta) -> list[DueModel]:
    """Return the models that are due by Postgres's clock, those first that were not measured for longest.

    For each model one row of the log is read at most.
    """
    now = read_time(session)
    of_models = select(MonitorState).where(MonitorState.model.in_(live))
    states = {state.model: state for state in session.scalars(of_models)}
    found = []
    for name, one in live.items():
        state = states.get(name)
        if not is_old(state, interval, now) or (newest := find_newest(session, name)) is None:
            continue
        if (
            state is None
            or has_new_rows(one, state, newest)
            or (is_old(state, interval * TRUTH_INTERVALS, now) and has_truth(session, name))
        ):
            found.append(DueModel(one, newest))
    never = datetime.min.replace(tzinfo=now.tzinfo)
    checked = {name: state.checked_at or never for name, state in states.items()}
    return sorted(found, key=lambda due: checked.get(due.live.model, never))


def is_old(state: MonitorState | None, interval: timedelta, now: datetime) -> bool:
    """Return whether a measurement is so long ago; a clock that was set back makes it so."""
    last = state.checked_at if state is not None else None
    return last is None or not timedelta() <= now - last < interval


def has_new_rows(live: LiveModel, state: MonitorState, newest: datetime) -> bool:
    """Return whether the last measurement did not have the newest row, or was of another release."""
    return state.read_until is None or state.release_id != live.release or newest > state.read_until


def find_newest(session: Session, model: str) -> datetime | None:
    """Return the time of a model's newest recorded row."""
    of_model = (RecordedRequest.model == model) & (RecordedRequest.at < func.now() + MAX_CLOCK_ERROR)
    newest = select(RecordedRequest.at).where(of_model).order_by(RecordedRequest.at.desc()).limit(1)
    return session.scalar(newest)


def has_truth(session: Session, model: str) -> bool:
    of_model = select(GroundTruth.at).where(GroundTruth.model == model).limit(1)
    return session.scalar(of_model) is not None
