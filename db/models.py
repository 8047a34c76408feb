"""The tables. `vcs.pull_requests` is filled by Singer; everything else is written by this code alone."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.base import Base, Words


class PullRequest(Base):
    """A pull request as Singer brought it from GitHub; the target adds its `_sdc_` columns beside these."""

    __tablename__ = "pull_requests"
    __table_args__ = {"schema": "vcs"}

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    repository: Mapped[str] = mapped_column("_sdc_repository")
    number: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str | None]
    title: Mapped[str | None]
    html_url: Mapped[str | None]
    user_login: Mapped[str | None]
    base_ref: Mapped[str | None]
    head_ref: Mapped[str | None]
    head_sha: Mapped[str | None]
    merge_commit_sha: Mapped[str | None]
    created_at: Mapped[datetime | None]
    updated_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    merged_at: Mapped[datetime | None]


class SyncState(Base):
    """Singer's state of a repository: moved forward only when tap and target both ended well."""

    __tablename__ = "sync_states"
    __table_args__ = {"schema": "vcs"}

    repository: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class Delivery(Base):
    """A webhook delivery that was taken: GitHub sends one again when an answer is lost."""

    __tablename__ = "deliveries"
    __table_args__ = {"schema": "vcs"}

    id: Mapped[str] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class Appliance(Base):
    """One row: what this database has followed, so that a demo never mixes with a real repository.

    `looked_at` is when the look-out looked last; `tracking` is why MLflow cannot be told of releases now,
    `github` why GitHub is not heard.
    """

    __tablename__ = "appliance"

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    mode: Mapped[str]
    since: Mapped[datetime] = mapped_column(server_default=func.now())
    looked_at: Mapped[datetime | None]
    tracking: Mapped[str | None]
    github: Mapped[str | None]


class Trigger(StrEnum):
    MERGE = "merge"
    TAG = "tag"
    MANUAL = "manual"
    SCHEDULE = "schedule"
    DRIFT = "drift"
    UNKNOWN = "unknown"


class Status(StrEnum):
    QUEUED = "queued"
    BUILDING = "building"
    PASSED = "passed"  # the gate let it through and somebody has to deploy it
    DEPLOYED = "deployed"  # the gate let it through and made its deployment
    REJECTED = "rejected"  # the commit's fault
    FAILED = "failed"  # the world's, after five tries, or ours
    SUPERSEDED = "superseded"  # a newer merge came before it was begun
    CANCELLED = "cancelled"  # an operator ended it
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        return self not in (Status.QUEUED, Status.BUILDING)


class Release(Base):
    """One attempt to bring one commit of a model to production."""

    __tablename__ = "releases"
    __table_args__ = (
        Index(
            "uq_releases_merge",
            "model",
            "commit",
            unique=True,
            postgresql_where=text("trigger = 'merge'"),
        ),
        Index(None, "model", "position"),
        Index("uq_releases_tag", "model", "ref", unique=True, postgresql_where=text("trigger = 'tag'")),
        Index("ix_releases_model_id", "model", "id"),
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
            postgresql_where=text("told IS DISTINCT FROM status AND status NOT IN ('queued', 'building')"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    repository: Mapped[str]
    commit: Mapped[str]
    trigger: Mapped[Trigger] = mapped_column(Words(Trigger), default=Trigger.MERGE)
    ref: Mapped[str | None]  # the tag, of a release that a tag triggered
    requested_by: Mapped[str | None]  # who asked for it by hand
    warm_start: Mapped[int | None] = mapped_column(ForeignKey("releases.id"))  # whose artifact train() gets
    pull_request: Mapped[int | None]
    title: Mapped[str | None]
    author: Mapped[str | None]
    merged_at: Mapped[datetime | None]
    position: Mapped[int | None]  # its place among the model's merges and tags: see `newest`

    status: Mapped[Status] = mapped_column(Words(Status), default=Status.QUEUED)
    reason: Mapped[str | None]  # why it is not live, in words for a person
    token: Mapped[str | None]  # of the builder that holds it: each of its writes is conditional on this
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    release_on: Mapped[str | None]  # merge or tag, as its manifest says
    entry_point: Mapped[str | None]
    kind: Mapped[str | None]  # regression, classification, time-series or generic
    info: Mapped[dict[str, Any] | None]
    metrics: Mapped[dict[str, float] | None]
    environment: Mapped[str | None]  # the key of its environment
    lock: Mapped[str | None]  # what was resolved: the environment can be made again from this
    python: Mapped[str | None]  # the interpreter it was resolved for
    data: Mapped[dict[str, Any] | None]  # digests of the data sets that were used
    artifact: Mapped[str | None]  # sha256 of the trained model
    verdict: Mapped[dict[str, Any] | None]  # what the gate compared with what, rule by rule
    differences: Mapped[dict[str, Any] | None]  # of its predictions from what was live when it was judged
    # what its predictions are shown beside; read with `releases.known` alone, as it may be long
    known: Mapped[dict[str, Any] | None] = mapped_column(deferred=True, deferred_raiseload=True)
    hold: Mapped[str | None]  # why it stops at `passed` when the gate lets it through
    pruned_at: Mapped[datetime | None]  # from then on its artifact may be gone
    told: Mapped[Status | None] = mapped_column(Words(Status))  # the status that MLflow has heard of

    stages: Mapped[list["Stage"]] = relationship(lazy="raise", order_by="Stage.id")


class Outcome(StrEnum):
    RUNNING = "running"
    DONE = "done"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Stage(Base):
    """A step of a release, as often as it was begun."""

    __tablename__ = "stages"

    id: Mapped[int] = mapped_column(primary_key=True)
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    outcome: Mapped[Outcome] = mapped_column(Words(Outcome), default=Outcome.RUNNING)
    started_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None]


class Cause(StrEnum):
    GATE = "gate"
    OPERATOR = "operator"
    ROLLBACK = "rollback"
    AUTOMATIC_ROLLBACK = "automatic rollback"
    PROMOTION = "promotion"
    UNKNOWN = "unknown"


class State(StrEnum):
    """Of a decision: it is wanted until it is live, failed or overruled. Only the newest can be wanted."""

    WANTED = "wanted"
    LIVE = "live"  # it has reached users; the newest of these is what they get
    FAILED = "failed"
    OVERRULED = "overruled"  # a newer decision was made before it was live
    UNKNOWN = "unknown"


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
    cause: Mapped[Cause] = mapped_column(Words(Cause))
    who: Mapped[str]
    why: Mapped[str | None]
    state: Mapped[State] = mapped_column(Words(State), default=State.WANTED)
    reason: Mapped[str | None]  # why it failed or was overruled, in words for a person
    # of a rollback: the deployment that it ends, and the newest release that stops at `passed` for it
    leaves: Mapped[int | None] = mapped_column(ForeignKey("deployments.id"))
    holds_until: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    live_at: Mapped[datetime | None]

    release: Mapped[Release] = relationship(lazy="raise")


class Quarantine(Base):
    """A commit that was rolled back: no rollback goes to it, until an operator deploys it on purpose."""

    __tablename__ = "quarantines"

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(index=True)
    commit: Mapped[str]
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"))
    why: Mapped[str | None]
    since: Mapped[datetime] = mapped_column(server_default=func.now())
    ended_at: Mapped[datetime | None]


class Score(Base):
    """A live release, evaluated again on the test data of the day; `passed` when it gave metrics."""

    __tablename__ = "scores"

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(index=True)
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"))
    requested_by: Mapped[str | None]
    status: Mapped[Status] = mapped_column(Words(Status))
    reason: Mapped[str | None]
    metrics: Mapped[dict[str, float] | None]
    data: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]

    release: Mapped[Release] = relationship(lazy="raise")


class Prediction(Base):
    """A sampled request and what was answered; bounded in rows."""

    __tablename__ = "predictions"
    __table_args__ = (Index("ix_predictions_model_id", "model", "id"), Index("ix_predictions_at", "at"))

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    model: Mapped[str]
    release_id: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    # as they were, or not at all: what is asked again later must be what was asked
    request: Mapped[dict[str, Any]] = mapped_column(JSONB)  # {"features": …}
    answer: Mapped[dict[str, Any]] = mapped_column(JSONB)  # {"prediction": …}


class Tracked(Base):
    """What MLflow knows of a release: its run, its version in the registry, and how far it was told."""

    __tablename__ = "tracked"

    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"), primary_key=True)
    key: Mapped[str]  # a tag of the run by which it is found again, should we be killed before `run` is here
    experiment: Mapped[str | None]
    run: Mapped[str | None]
    is_open: Mapped[bool] = mapped_column(default=False)  # the model's own code may log below it
    logged: Mapped[str | None]  # the logged model that its version is made of
    version: Mapped[int | None]  # of the registered model
    tries: Mapped[int] = mapped_column(default=0)  # to tell of it that failed, though MLflow was there
    due_at: Mapped[datetime | None]  # of the next one
    trouble: Mapped[str | None]  # what MLflow was not told of it, and why
    told_at: Mapped[datetime | None]


class Alias(Base):
    """The versions that MLflow's aliases `prod` and `previous` of a model are at, or are to be put to.

    None: at none. `prod` seen elsewhere is somebody's promotion. Written before it is `sent`: what is seen
    before that is none.
    """

    __tablename__ = "aliases"

    model: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[str | None]  # the experiment, so that another server is noticed
    version: Mapped[int | None]  # of `prod`
    previous: Mapped[int | None]
    sent: Mapped[bool]
    refused: Mapped[str | None]  # why the newest promotion by MLflow was not followed
    at: Mapped[datetime] = mapped_column(server_default=func.now())
