"""The tables of releases: what was built, decided, served and measured."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.base import Base, TextEnum
from db.states import Cause, DeploymentState, StageOutcome, Status, Trigger


class Appliance(Base):
    """One row: the kind of repository that this database follows, so that a demo never mixes with a real one.

    `looked_at` is the controller's last heartbeat; `tracking` is why releases cannot be exported to MLflow
    now, `github` why GitHub is unavailable, `outbox` what GitHub is not told and why. `has_github_app` is
    whether GitHub gets check runs. `notifications` is what people are not told and why, `has_notifications`
    whether anybody is to be told.
    """

    __tablename__ = "appliance"

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    mode: Mapped[str]
    since: Mapped[datetime] = mapped_column(server_default=func.now())
    looked_at: Mapped[datetime | None]
    tracking: Mapped[str | None]
    github: Mapped[str | None]
    outbox: Mapped[str | None]
    has_github_app: Mapped[bool] = mapped_column(server_default=text("false"))
    notifications: Mapped[str | None]
    has_notifications: Mapped[bool] = mapped_column(server_default=text("false"))


class Release(Base):
    """One attempt to bring one commit of a model to production."""

    __tablename__ = "releases"
    __table_args__ = (
        Index(
            "uq_releases_merge",
            "model",
            "commit",
            unique=True,
            postgresql_where=text("trigger IN ('merge', 'push')"),
        ),
        Index(None, "model", "position"),
        Index("uq_releases_tag", "model", "ref", unique=True, postgresql_where=text("trigger = 'tag'")),
        Index("ix_releases_model_id", "model", "id"),
        Index(
            "ix_releases_checks", "model", "pull_request", "id", postgresql_where=text("trigger = 'check'")
        ),
        Index(
            "ix_releases_merge_groups",
            "model",
            "id",
            postgresql_where=text("trigger = 'check' AND ref IS NOT NULL"),
        ),
        Index("ix_releases_checked_trees", "model", "tree", postgresql_where=text("status = 'checked'")),
        Index("ix_releases_checked_files", "model", "files", postgresql_where=text("status = 'checked'")),
        Index("ix_releases_repository_commit", "repository", "commit"),
        Index(
            "ix_releases_on_their_way",
            "status",
            "model",
            "id",
            postgresql_where=text("status IN ('queued', 'building')"),
        ),
        Index(
            "ix_releases_unsuccessful",
            "model",
            "id",
            postgresql_where=text("status IN ('rejected', 'failed')"),
        ),
        Index(
            "ix_releases_unpruned",
            "model",
            "id",
            postgresql_where=text("artifact IS NOT NULL AND pruned_at IS NULL"),
        ),
        Index(
            "ix_releases_untold",
            "id",
            postgresql_where=text(
                "told IS DISTINCT FROM status AND status NOT IN ('queued', 'building')"
                " AND status <> 'untouched' AND trigger <> 'check'"
            ),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    repository: Mapped[str]
    commit: Mapped[str]
    trigger: Mapped[Trigger] = mapped_column(TextEnum(Trigger), default=Trigger.MERGE)
    ref: Mapped[str | None]  # the tag of a release that a tag triggered; the branch of a merge group's check
    requested_by: Mapped[str | None]  # the person who requested it
    warm_start: Mapped[int | None] = mapped_column(ForeignKey("releases.id"))  # whose artifact train() gets
    pull_request: Mapped[int | None]
    # of a check, whose commit is the pull request's head: the branch's tip that it was merged onto, and
    # whether it comes from another repository
    base: Mapped[str | None]
    is_fork: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    tree: Mapped[str | None]  # git's id of the whole tree that was built
    # the folder of the repository that it was built in, empty for all of it, and what else of it was used;
    # None until it is checked out
    path: Mapped[str | None]
    paths: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    files: Mapped[str | None]  # an id of the files that it is made of: see `ml.sources.git_export`
    title: Mapped[str | None]
    author: Mapped[str | None]
    merged_at: Mapped[datetime | None]
    position: Mapped[int | None]  # its position among the model's merges, pushes and tags: see `newest`

    status: Mapped[Status] = mapped_column(TextEnum(Status), default=Status.QUEUED)
    reason: Mapped[str | None]  # why it is not live, for a person
    token: Mapped[str | None]  # of the builder that claimed it: each of its writes is conditional on this
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    release_on: Mapped[str | None]  # merge, push or tag, from its manifest
    retrain: Mapped[dict[str, Any] | None]  # [retrain] of its manifest, as far as it is set
    entry_point: Mapped[str | None]
    kind: Mapped[str | None]  # regression, classification, time-series or generic
    info: Mapped[dict[str, Any] | None]
    metrics: Mapped[dict[str, float] | None]
    environment: Mapped[str | None]  # the key of its environment
    lock: Mapped[str | None]  # the resolved requirements: the environment can be made again from this
    python: Mapped[str | None]  # the interpreter it was resolved for
    data: Mapped[dict[str, Any] | None]  # digests of the data sets that were used
    artifact: Mapped[str | None]  # sha256 of the trained model
    recipe: Mapped[dict[str, Any] | None]  # all that its training depends on, each by a name
    trained_by: Mapped[int | None] = mapped_column(ForeignKey("releases.id"))  # the check that trained it
    verdict: Mapped[dict[str, Any] | None]  # the gate's comparisons, rule by rule
    differences: Mapped[dict[str, Any] | None]  # of its predictions from the live release's in the gate
    record: Mapped[dict[str, Any] | None]  # `[record]` of its manifest, without the operator's
    drift_baseline: Mapped[str | None]  # sha256 of the file that its drift is measured against
    drift_source: Mapped[str | None]  # the origin of its rows: training, or requests
    # reference data of its predictions; read only by `releases.find_reference_data`, as it may be long
    known: Mapped[dict[str, Any] | None] = mapped_column(deferred=True, deferred_raiseload=True)
    hold: Mapped[str | None]  # why it stops at `passed` when the gate passes it
    pruned_at: Mapped[datetime | None]  # from then on its artifact may be gone
    told: Mapped[Status | None] = mapped_column(TextEnum(Status))  # the status that was exported to MLflow

    stages: Mapped[list["Stage"]] = relationship(lazy="raise", order_by="Stage.id")

    @property
    def isolation(self) -> str:
        """The name by which its code is kept apart: the model's, or that of the pull request that is checked.

        A merge group has one of its own, for it holds several. No model has a name with an @.
        """
        if self.trigger is not Trigger.CHECK:
            return self.model
        return f"{self.model}@{self.pull_request if self.ref is None else self.commit}"


class Approval(Base):
    """An operator's approval to build one head of a pull request that comes from another repository."""

    __tablename__ = "approvals"

    model: Mapped[str] = mapped_column(primary_key=True)
    pull_request: Mapped[int] = mapped_column(primary_key=True)
    head: Mapped[str] = mapped_column(primary_key=True)
    who: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.now())


class StageName(StrEnum):
    """The stages of a build, in their order; the two of the repository's tests are run where it has them."""

    CHECKOUT = "checkout"
    ENVIRONMENT = "environment"
    TEST = "test"
    DATA = "data"
    TRAIN = "train"
    EVALUATE = "evaluate"
    AFTER_TRAIN = "after_train"
    GATE = "gate"
    DEPLOY = "deploy"


OPTIONAL_STAGES = (StageName.TEST, StageName.AFTER_TRAIN)


class Stage(Base):
    """One attempt of a step of a release."""

    __tablename__ = "stages"

    id: Mapped[int] = mapped_column(primary_key=True)
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    outcome: Mapped[StageOutcome] = mapped_column(TextEnum(StageOutcome), default=StageOutcome.RUNNING)
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None]


class Deployment(Base):
    """The decision "this release is what this model should serve"."""

    __tablename__ = "deployments"
    __table_args__ = (
        Index("uq_deployments_gate", "release_id", unique=True, postgresql_where=text("cause = 'gate'")),
        Index("ix_deployments_model_id", "model", "id"),
        Index("ix_deployments_model_state_id", "model", "state", "id"),
        Index("ix_deployments_was_live", "model", "id", postgresql_where=text("live_at IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"), index=True)
    cause: Mapped[Cause] = mapped_column(TextEnum(Cause))
    who: Mapped[str]
    why: Mapped[str | None]
    state: Mapped[DeploymentState] = mapped_column(TextEnum(DeploymentState), default=DeploymentState.WANTED)
    reason: Mapped[str | None]  # why it failed or was overruled, for a person
    # of a rollback: the deployment that it ends, and the newest release that stops at `passed` because of it
    leaves: Mapped[int | None] = mapped_column(ForeignKey("deployments.id"))
    holds_until: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    live_at: Mapped[datetime | None]

    release: Mapped[Release] = relationship(lazy="raise")


class Quarantine(Base):
    """A release that was rolled back: no rollback goes to it, until an operator deploys it on purpose."""

    __tablename__ = "quarantines"

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(index=True)
    commit: Mapped[str]
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"))
    # whether no rollback goes to any release of the commit: none of it was good
    covers_commit: Mapped[bool] = mapped_column(server_default=text("true"))
    why: Mapped[str | None]
    since: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]


class Score(Base):
    """A live release's evaluation on the test data of the day; `passed` when it returned metrics."""

    __tablename__ = "scores"
    __table_args__ = (
        Index("ix_scores_model_id", "model", "id"),
        Index("ix_scores_waiting", "id", postgresql_where=text("status = 'queued'")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"))
    requested_by: Mapped[str | None]
    status: Mapped[Status] = mapped_column(TextEnum(Status))
    reason: Mapped[str | None]
    metrics: Mapped[dict[str, float] | None]
    data: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]

    release: Mapped[Release] = relationship(lazy="raise")


class Traffic(Base):
    """Requests answered in a minute; several rows where, for example, two processes serve a model."""

    __tablename__ = "traffic"
    __table_args__ = (
        Index("ix_traffic_model_minute", "model", "minute"),
        Index("ix_traffic_minute", "minute"),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    model: Mapped[str]
    minute: Mapped[datetime]
    failed: Mapped[int]
    counts: Mapped[list[int]] = mapped_column(
        ARRAY(Integer)
    )  # by latency, with the bounds of `ml.serving.counters`


class HourlyTraffic(Base):
    """Requests answered in an hour: the sums of `Traffic`, stored for longer."""

    __tablename__ = "hourly_traffic"
    __table_args__ = (Index("ix_hourly_traffic_hour", "hour"),)

    model: Mapped[str] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    failed: Mapped[int]
    counts: Mapped[list[int]] = mapped_column(ARRAY(Integer))
