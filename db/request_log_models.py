"""The table of the request log: one row for each recorded prediction, partitioned by day."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import REAL, Index, text
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base


class RecordedRequest(Base):
    """One row of a call: its features with the answer, or the kind of error.

    `at` is the time in its id, so that an id names the partition. `features` and `answer` are exactly as they
    were where `is_whole`; else a field of them was hashed or dropped, or Postgres cannot store them.
    """

    __tablename__ = "requests"
    __table_args__ = (
        Index("ix_requests_model_at", "model", "at"),
        Index("ix_requests_client", "model", "client_id"),
        Index(
            "ix_requests_replayable",
            "model",
            "at",
            postgresql_where=text("is_whole AND error IS NULL"),
        ),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True)  # of the call
    row: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # from 0
    at: Mapped[datetime] = mapped_column(primary_key=True)
    model: Mapped[str]
    release_id: Mapped[int]
    route: Mapped[str]  # predict, form, url, v1, v2, invocations or csv
    client_id: Mapped[str]  # X-Request-ID: the client's, or one of ours
    features: Mapped[Any | None] = mapped_column(JSONB, nullable=True)
    answer: Mapped[Any | None] = mapped_column(JSONB, nullable=True)
    error: Mapped[str | None]  # its kind; None where there is an answer
    milliseconds: Mapped[float] = mapped_column(REAL)
    is_whole: Mapped[bool]  # else it is never replayed
    is_reduced: Mapped[bool]  # a field was hashed or dropped
