"""Reads of what the monitor measured, as pages and metrics show it: bounded, and by indexes alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Subquery, Text, case, cast, func, select, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from db.models import Deployment
from db.monitor_models import DriftWindow, MonitorState, QualityWindow
from db.request_log import MAX_CLOCK_ERROR
from db.request_log_models import RecordedRequest

DRIFT_WINDOWS, QUALITY_WINDOWS = ("newest", "day"), ("day", "week", "month")
MAX_RELEASES = 4  # whose quality is shown at one time
MAX_ANSWERS = 500  # of a release
MAX_SCANNED_ROWS = 2000  # among which they are looked for
MAX_ANSWER_BYTES = 16_384  # larger ones are left out
MAX_DEPLOYMENTS = 50


@dataclass(frozen=True)
class ShownPeriod:
    """A part of the past, in steps of which one window each is shown."""

    start: datetime
    end: datetime
    steps: int = 60

    @property
    def step(self) -> timedelta:
        return (self.end - self.start) / self.steps


@dataclass(frozen=True)
class DriftPoint:
    """One window without its findings, but for the comparisons of its worst column."""

    made_at: datetime
    release_id: int
    rows: int
    status: str
    reason: str
    worst: list[dict[str, Any]]


@dataclass(frozen=True)
class LivePeriod:
    """The time in which a release was live without a break; no end while it is."""

    release: int
    start: datetime
    end: datetime | None


def find_state(session: Session, model: str) -> MonitorState | None:
    return session.get(MonitorState, model)


def list_states(session: Session, models: Sequence[str]) -> Sequence[MonitorState]:
    return session.scalars(select(MonitorState).where(MonitorState.model.in_(models))).all()


def list_newest_drift(session: Session, model: str) -> list[DriftWindow]:
    """Return the newest of each kind of window, with its findings."""
    newest = (
        session.scalar(
            select(DriftWindow)
            .where(DriftWindow.model == model, DriftWindow.window == window)
            .order_by(DriftWindow.made_at.desc())
            .limit(1)
        )
        for window in DRIFT_WINDOWS
    )
    return [window for window in newest if window is not None]


def list_newest_quality(session: Session, model: str) -> list[QualityWindow]:
    """Return the newest of each kind of window, one for each release, the newest release first."""
    found: list[QualityWindow] = []
    for window in QUALITY_WINDOWS:
        rows = session.scalars(
            select(QualityWindow)
            .where(QualityWindow.model == model, QualityWindow.window == window)
            .order_by(QualityWindow.made_at.desc(), QualityWindow.release_id.desc())
            .limit(MAX_RELEASES)
        ).all()
        found += {row.release_id: row for row in reversed(rows)}.values()
    return sorted(found, key=lambda row: (QUALITY_WINDOWS.index(row.window), -row.release_id))


def list_drift(session: Session, model: str, window: str, period: ShownPeriod) -> list[DriftPoint]:
    """Return the newest window of each step of a period, oldest first."""
    begins, in_step = make_steps(period, DriftWindow.made_at)
    found = (
        select(
            DriftWindow.made_at,
            DriftWindow.release_id,
            DriftWindow.rows,
            DriftWindow.status,
            DriftWindow.reason,
            func.coalesce(
                cast(DriftWindow.findings, JSONB)[0]["comparisons"], func.jsonb_build_array()
            ).label("worst"),
        )
        .where(DriftWindow.model == model, DriftWindow.window == window, in_step)
        .order_by(DriftWindow.made_at.desc())
        .limit(1)
        .lateral()
    )
    rows = session.execute(select(found).select_from(begins).join(found, true()).order_by(found.c.made_at))
    return [DriftPoint(*row) for row in rows]


def list_quality(session: Session, model: str, window: str, period: ShownPeriod) -> list[QualityWindow]:
    """Return the newest windows of each step of a period, one for each release, oldest first."""
    begins, in_step = make_steps(period, QualityWindow.made_at)
    found = (
        select(QualityWindow.id)
        .where(QualityWindow.model == model, QualityWindow.window == window, in_step)
        .order_by(QualityWindow.made_at.desc())
        .limit(MAX_RELEASES)
        .correlate(begins)
        .lateral()
    )
    chosen = (
        select(QualityWindow, begins.c.begins)
        .select_from(begins)
        .join(found, true())
        .join(QualityWindow, QualityWindow.id == found.c.id)
        .order_by(QualityWindow.made_at)
    )
    newest = {
        (row.begins, row.QualityWindow.release_id): row.QualityWindow for row in session.execute(chosen)
    }
    return list(newest.values())


def make_steps(period: ShownPeriod, made_at: Any) -> tuple[Subquery, ColumnElement[bool]]:
    """Return the beginning of each step, and the condition that a window was made in it."""
    series = func.generate_series(period.start, period.end - period.step, period.step)
    begins = select(series.column_valued("begins").cast(DateTime(timezone=True)).label("begins")).subquery()
    return begins, (made_at >= begins.c.begins) & (made_at < begins.c.begins + period.step)


def find_live_periods(session: Session, model: str) -> list[LivePeriod]:
    """Return the live release with its time, and the one that was live before it; none while none is live."""
    rows = session.execute(
        select(Deployment.release_id, Deployment.live_at)
        .where(Deployment.model == model, Deployment.live_at.is_not(None))
        .order_by(Deployment.id.desc())
        .limit(MAX_DEPLOYMENTS)
    ).all()
    found: list[LivePeriod] = []
    for release, live_at in rows:
        if live_at is None:
            continue  # never: the query leaves them out
        if found and found[-1].release == release:
            found[-1] = replace(found[-1], start=live_at)
        elif len(found) == 2:
            break
        else:
            found.append(LivePeriod(release, live_at, found[-1].start if found else None))
    return found


def list_answers(session: Session, model: str, period: LivePeriod, now: datetime) -> list[Any]:
    """Return the newest answers of a release in a period, but for large ones."""
    newest = (
        select(RecordedRequest.release_id, RecordedRequest.answer, RecordedRequest.error)
        .where(RecordedRequest.model == model, RecordedRequest.at >= period.start)
        .where(RecordedRequest.at < (period.end or now + MAX_CLOCK_ERROR))
        .order_by(RecordedRequest.at.desc())
        .limit(MAX_SCANNED_ROWS)
        .subquery()
    )
    is_large = func.octet_length(cast(newest.c.answer, Text)) > MAX_ANSWER_BYTES
    answer = case((is_large, None), else_=newest.c.answer)
    rows = session.execute(
        select(answer.label("answer"))
        .where(newest.c.release_id == period.release, newest.c.error.is_(None), newest.c.answer.is_not(None))
        .limit(MAX_ANSWERS)
    )
    return [row.answer for row in rows if row.answer is not None]
