"""The tables of notifications: what people are told, and how far each receiver has it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TextEnum
from db.states import DeliveryState


class Notification(Base):
    """The newest event of one subject; a newer one takes the place of one that was not delivered.

    `due_at` is when `vcs` begins to deliver it, `begun_at` when it last began; `ended_at` is of a state,
    such as a full disk, that is over.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        Index("ix_notifications_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        {"schema": "vcs"},
    )

    subject: Mapped[str] = mapped_column(primary_key=True)
    event: Mapped[str]
    facts: Mapped[dict[str, Any]]
    message: Mapped[UUID] = mapped_column(unique=True, server_default=text("gen_random_uuid()"))
    occurred_at: Mapped[datetime] = mapped_column(server_default=func.now())
    due_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    begun_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class NotificationDelivery(Base):
    """The delivery of one message to one receiver, which is named by a digest of its address."""

    __tablename__ = "notification_deliveries"
    __table_args__ = (
        Index("ix_notification_deliveries_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        {"schema": "vcs"},
    )

    message: Mapped[UUID] = mapped_column(primary_key=True)
    receiver: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[DeliveryState] = mapped_column(TextEnum(DeliveryState), server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
