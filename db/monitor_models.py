"""The tables of the monitor: what it measured of drift and of quality, and what lasts of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base


class DriftWindow(Base):
    """Holds what one window of recorded requests showed against the live release's baseline."""

    __tablename__ = "drift_windows"
    __table_args__ = (
        Index("ix_drift_windows_model_id", "model", "id"),
        Index("ix_drift_windows_made_at", "model", "window", "made_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"))
    made_at: Mapped[datetime] = mapped_column(server_default=func.now())
    window: Mapped[str]  # newest or day
    begins_at: Mapped[datetime | None]  # the time of its first row; None where it has none
    ends_at: Mapped[datetime | None]
    rows: Mapped[int]
    calls: Mapped[int]
    status: Mapped[str]  # too few, same, suspected or drift
    reason: Mapped[str]  # for a person
    findings: Mapped[list[Any]]  # each column's, the worst first, as `ml.monitor.drift` answers them


class QualityWindow(Base):
    """The metrics of a release on recorded predictions that have ground truth."""

    __tablename__ = "quality_windows"
    __table_args__ = (
        Index("ix_quality_windows_model_id", "model", "id"),
        Index("ix_quality_windows_made_at", "model", "window", "made_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"))
    made_at: Mapped[datetime] = mapped_column(server_default=func.now())
    window: Mapped[str]  # day, week or month
    begins_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    recorded: Mapped[int]  # answered rows
    rows: Mapped[int]  # those of them that have ground truth
    kind: Mapped[str]  # the model's: regression, classification or time-series
    metrics: Mapped[dict[str, Any]]  # a name → {"value", "low", "high"}; a 95 % bootstrap interval, or null
    status: Mapped[str]  # too few, same or decay
    reason: Mapped[str]  # for a person


class MonitorState(Base):
    """Holds what the monitor knows of one model from run to run; times are by Postgres's clock."""

    __tablename__ = "monitor_states"

    model: Mapped[str] = mapped_column(primary_key=True)
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"))  # the live one that it is about
    checked_at: Mapped[datetime | None]
    began_at: Mapped[datetime | None]  # of a measurement that has not ended
    read_until: Mapped[datetime | None]  # the time of the newest recorded row when it was last measured
    baseline_until: Mapped[datetime | None]  # of the requests that are its baseline: they are in no window
    problem: Mapped[str | None]  # why it was not monitored, for a person
    suspicion: Mapped[dict[str, Any]]  # what the next drift request has to contain
    drift_since: Mapped[datetime | None]  # None: there is no drift
    drift_reason: Mapped[str | None]
    decay_since: Mapped[datetime | None]
    decay_reason: Mapped[str | None]
