"""What the monitor writes: windows of drift, what it knows of each model, and alarms that last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ScalarSelect, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import JSONPATH, insert
from sqlalchemy.orm import Session

from common.text import make_json_storable, make_storable
from db import notifications
from db.models import Release
from db.monitor_models import DriftWindow, MonitorState, QualityWindow
from db.notifications import Event
from db.release_events import describe_release
from db.states import Trigger

MAX_PROBLEM_CHARS = 1000
MAX_DAYS, MAX_WINDOWS = 90, 6000  # of a model's history, in each table: a month at the default interval
WHOLE_WINDOWS = 200  # with all their columns
# of a finding: what is no value of any row, and stays when rows are erased
STATISTICS = ("name", "is_prediction", "kind", "status", "probability", "reason", "comparisons")
EVENTS = {Trigger.DRIFT: Event.DRIFT, Trigger.DECAY: Event.DECAY}
CUT_OFF = "the last measurement was cut off: is there enough memory?"


@dataclass(frozen=True)
class Measured:
    """The drift of one release as of one run: its windows, and what the next run has to know."""

    release: int
    windows: Sequence[dict[str, Any]]  # columns of `DriftWindow`
    suspicion: dict[str, Any] | None  # None: as it was


def begin_measurement(session: Session, model: str, release: int) -> MonitorState:
    """Begin a measurement: of another release than the last one, nothing that was known holds.

    The transaction that ends is the caller's; the state is locked until then.
    """
    new = insert(MonitorState).values(model=model, release_id=release, suspicion={})
    session.execute(new.on_conflict_do_nothing())
    state = session.get_one(MonitorState, model, with_for_update=True, populate_existing=True)
    if state.release_id != release:
        start_anew(session, state, release)
    elif state.began_at is not None:
        state.problem = CUT_OFF
    state.began_at = state.checked_at = func.now()
    session.flush()
    session.refresh(state)
    return state


def start_anew(session: Session, state: MonitorState, release: int) -> None:
    """Forget what was known of another release."""
    for trigger in EVENTS:
        end_alarm(session, state, trigger)
    state.release_id, state.suspicion, state.problem = release, {}, None
    state.read_until = state.baseline_until = None


def end_measurement(
    session: Session, model: str, release: int, newest: datetime, problem: str | None
) -> bool:
    """End a measurement of rows up to `newest`, with what went wrong; return whether that is new."""
    state = lock_state(session, model, release)
    if state is None:
        return False
    problem = problem and make_storable(problem, MAX_PROBLEM_CHARS)
    is_new = problem is not None and problem != state.problem
    state.began_at, state.problem = None, problem
    if problem is None:  # else the same rows are tried again
        state.read_until = newest
    return is_new


def save_drift(session: Session, model: str, found: Measured) -> None:
    """Store the windows of a measurement, and forget the oldest ones."""
    state = lock_state(session, model, found.release)
    if state is None:
        return
    if found.suspicion is not None:
        state.suspicion = make_json_storable(found.suspicion)
    for window in found.windows:
        facts = window | {
            "reason": make_storable(window["reason"], MAX_PROBLEM_CHARS),
            "findings": make_json_storable(window["findings"]),
        }
        if not is_known(session, model, found.release, facts):
            session.add(DriftWindow(model=model, release_id=found.release, **facts))
    session.flush()
    prune_windows(session, model)


def lock_state(session: Session, model: str, release: int) -> MonitorState | None:
    """Return what is known of a release, locked; None where another one is monitored by now."""
    state = session.get(MonitorState, model, with_for_update=True, populate_existing=True)
    return state if state is not None and state.release_id == release else None


def is_known(session: Session, model: str, release: int, window: dict[str, Any]) -> bool:
    """Return whether the last window said the same: that there is nothing to compare."""
    if window["findings"]:
        return False
    last = session.scalar(
        select(DriftWindow)
        .where(DriftWindow.model == model, DriftWindow.window == window["window"])
        .order_by(DriftWindow.id.desc())
        .limit(1)
    )
    facts = (release, window["status"], window["reason"])
    return last is not None and (last.release_id, last.status, last.reason) == facts


def prune_windows(session: Session, model: str) -> None:
    """Delete windows of a model that are too old or too many; of old ones only the worst column stays."""
    for table in (DriftWindow, QualityWindow):
        old = (table.id <= find_newest(table, model, MAX_WINDOWS)) | (
            table.made_at < func.now() - timedelta(days=MAX_DAYS)
        )
        session.execute(delete(table).where(table.model == model, old))
    session.execute(
        update(DriftWindow)
        .where(DriftWindow.model == model)
        .where(DriftWindow.id <= find_newest(DriftWindow, model, WHOLE_WINDOWS))
        .where(DriftWindow.id > func.coalesce(find_newest(DriftWindow, model, 2 * WHOLE_WINDOWS), 0))
        .values(findings=func.jsonb_path_query_array(DriftWindow.findings, cast("$[0]", JSONPATH)))
        .execution_options(synchronize_session=False)
    )


def find_newest(table: type[DriftWindow | QualityWindow], model: str, place: int) -> ScalarSelect[int]:
    """Return the id of the row that has so many newer ones."""
    newest = select(table.id).where(table.model == model).order_by(table.id.desc())
    return newest.offset(place).limit(1).scalar_subquery()


def set_baseline_end(session: Session, model: str, release: int, until: datetime) -> None:
    """Store until when requests are a release's baseline: none of them is in a window."""
    if (state := lock_state(session, model, release)) is not None:
        state.baseline_until = until


def find_baseline_end(session: Session, model: str, release: int) -> datetime | None:
    of_release = (MonitorState.model == model) & (MonitorState.release_id == release)
    return session.scalar(select(MonitorState.baseline_until).where(of_release))


def find_baseline(session: Session, release: int) -> str | None:
    """Return the digest of a release's drift baseline; None where it has none, or what it was was erased."""
    return session.scalar(select(Release.drift_baseline).where(Release.id == release))


def find_drift_reason(session: Session, model: str, release: int) -> str | None:
    of_release = (MonitorState.model == model) & (MonitorState.release_id == release)
    return session.scalar(select(MonitorState.drift_reason).where(of_release))


def record_alarm(session: Session, model: str, release: int, trigger: Trigger, reason: str | None) -> bool:
    """Store that a model drifts or decays, or with no reason that it does not; return whether it does.

    People are told of one that begins.
    """
    state = lock_state(session, model, release)
    if state is None:
        return False
    if reason is None:
        end_alarm(session, state, trigger)
        return False
    reason = make_storable(reason, MAX_PROBLEM_CHARS)
    if trigger is Trigger.DRIFT:
        state.drift_since = state.drift_since or func.now()
        state.drift_reason = reason
    else:
        state.decay_since = state.decay_since or func.now()
        state.decay_reason = reason
    facts = describe_release(session.get_one(Release, release)) | {"reason": reason}
    notifications.begin_state(session, EVENTS[trigger], name_subject(trigger, model), facts)
    return True


def end_alarm(session: Session, state: MonitorState, trigger: Trigger) -> None:
    if trigger is Trigger.DRIFT:
        state.drift_since = state.drift_reason = None
    else:
        state.decay_since = state.decay_reason = None
    notifications.end_state(session, name_subject(trigger, state.model))


def name_subject(trigger: Trigger, model: str) -> str:
    return f"{trigger} {model}"


def forget_unfollowed(session: Session, models: Sequence[str]) -> None:
    """Forget the models that are followed no more; their windows stay until they are too old."""
    for state in session.scalars(select(MonitorState).where(MonitorState.model.not_in(models))):
        for trigger in EVENTS:
            end_alarm(session, state, trigger)
        session.delete(state)
    session.execute(delete(DriftWindow).where(DriftWindow.made_at < func.now() - timedelta(days=MAX_DAYS)))
