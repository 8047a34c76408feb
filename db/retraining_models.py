"""The tables of retrainings: what fell due or was suggested, and when the next is due."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TextEnum
from db.states import RetrainingState, Trigger


class Retraining(Base):
    """A retraining of the live commit that fell due or was suggested; each occasion has one.

    The occasion is the scheduled time, the digest of the data, or what whoever suggests it calls it.
    """

    __tablename__ = "retrainings"
    __table_args__ = (
        Index("uq_retrainings_occasion", "model", "trigger", "occasion", unique=True),
        Index("ix_retrainings_model_id", "model", "id"),
        Index("ix_retrainings_release_id", "release_id"),
        Index(
            "ix_retrainings_open", "model", "id", postgresql_where=text("state IN ('suggested', 'waiting')")
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    trigger: Mapped[Trigger] = mapped_column(TextEnum(Trigger))
    occasion: Mapped[str]
    # of a schedule: the time that fell due, and the time after which it stands for all that did
    scheduled_at: Mapped[datetime | None]
    since: Mapped[datetime | None]
    reason: Mapped[str]  # why to train again, for a person
    state: Mapped[RetrainingState] = mapped_column(TextEnum(RetrainingState))
    outcome: Mapped[str | None]  # why it made no release, for a person
    commit: Mapped[str]  # that was live
    live_release: Mapped[int] = mapped_column(ForeignKey("releases.id"))
    release_id: Mapped[int | None] = mapped_column(ForeignKey("releases.id"))  # that it made
    requested_by: Mapped[str | None]  # the person who started what was suggested
    attempts: Mapped[int] = mapped_column(default=0, server_default=text("0"))  # to make its release
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]


class RetrainingPlan(Base):
    """The plan of one model's retraining, and what was seen of its data; times are by Postgres's clock."""

    __tablename__ = "retraining_plans"

    model: Mapped[str] = mapped_column(primary_key=True)
    # the schedule that is followed, and since when: what was due before is not made up for
    schedule: Mapped[str | None]
    timezone: Mapped[str | None]
    since: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    waits: Mapped[str | None]  # why what is due is not begun, for a person
    paused_at: Mapped[datetime | None]
    paused_by: Mapped[str | None]
    paused_why: Mapped[str | None]
    # data that differs from what the live release was trained on, by a digest, and since when it is seen
    data_seen: Mapped[str | None]
    data_seen_at: Mapped[datetime | None]
    data_due: Mapped[str | None]  # the same digest once it was seen twice
    data_reason: Mapped[str | None]
    data_checked_at: Mapped[datetime | None]
    data_problem: Mapped[str | None]
