"""The tables of what is exported to MLflow."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base


class MlflowRun(Base):
    """The MLflow state of a release: its run, its version in the registry, and how far it was exported."""

    __tablename__ = "tracked"
    __table_args__ = (
        Index("ix_tracked_version", "version"),
        Index("ix_tracked_open", "release_id", postgresql_where=text("is_open")),
    )

    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"), primary_key=True)
    key: Mapped[str]  # a tag by which the run is found again, should we be killed before `run` is stored
    experiment: Mapped[str | None]
    run: Mapped[str | None]
    is_open: Mapped[bool] = mapped_column(default=False)  # the model's own code may log below it
    logged: Mapped[str | None]  # the logged model that its version is made of
    version: Mapped[int | None]  # of the registered model
    tries: Mapped[int] = mapped_column(default=0)  # failed exports while MLflow was available
    due_at: Mapped[datetime | None]  # of the next attempt
    trouble: Mapped[str | None]  # the part that was not exported, and why
    told_at: Mapped[datetime | None]


class MlflowAlias(Base):
    """The versions that MLflow's aliases `prod` and `previous` of a model point to, or are to be set to.

    None: at none. `prod` seen elsewhere is somebody's promotion. Written before it is `sent`: what is seen
    before that is no promotion.
    """

    __tablename__ = "aliases"

    model: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[str | None]  # the experiment, so that another server is noticed
    version: Mapped[int | None]  # of `prod`
    previous: Mapped[int | None]
    sent: Mapped[bool]
    refused: Mapped[str | None]  # why the newest promotion by MLflow was not followed
    at: Mapped[datetime] = mapped_column(server_default=func.now())
