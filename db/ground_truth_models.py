"""The table of ground truth: the value that a recorded prediction should have had, partitioned by day."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Index, func, text
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base


class GroundTruth(Base):
    """The true value of one row of a call; `at` is the time in its id, as in the request log.

    It has the partitions of `requests`, and is dropped with them.
    """

    __tablename__ = "ground_truth"
    __table_args__ = (
        Index("ix_ground_truth_model_at", "model", "at"),
        Index("ix_ground_truth_early", "stored_at", postgresql_where=text("is_early")),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)  # of the call
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # from 0
    at: Mapped[datetime] = mapped_column(primary_key=True)
    model: Mapped[str]
    value: Mapped[Any] = mapped_column(JSONB)
    source: Mapped[str]  # who says so: person, system or model
    observed_at: Mapped[datetime | None]  # when it became true, as the sender says
    stored_at: Mapped[datetime] = mapped_column(server_default=func.now())
    is_early: Mapped[bool] = mapped_column(server_default=text("false"))  # its row was not there yet
    earlier: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))  # replaced values, newest first
