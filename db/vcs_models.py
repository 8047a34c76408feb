"""The tables that `vcs` writes: `vcs.pull_requests` is filled by Singer, the others by our code."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, TextEnum
from db.states import OutboxState


class PullRequest(Base):
    """A pull request as Singer loaded it from GitHub; the target adds its `_sdc_` columns to these."""

    __tablename__ = "pull_requests"
    __table_args__ = {"schema": "vcs"}

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    repository: Mapped[str] = mapped_column("_sdc_repository")
    number: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str | None]
    draft: Mapped[bool | None]
    title: Mapped[str | None]
    html_url: Mapped[str | None]
    user_login: Mapped[str | None]
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    base_ref: Mapped[str | None]
    head_ref: Mapped[str | None]
    head_sha: Mapped[str | None]
    # the repositories of its ends; a deleted fork has none
    head_repository_id: Mapped[int | None] = mapped_column(BigInteger)
    head_owner_id: Mapped[int | None] = mapped_column(BigInteger)
    base_repository_id: Mapped[int | None] = mapped_column(BigInteger)
    merge_commit_sha: Mapped[str | None]
    created_at: Mapped[datetime | None]
    updated_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    merged_at: Mapped[datetime | None]


class SyncState(Base):
    """Singer's state of a repository: advanced only when tap and target both succeeded."""

    __tablename__ = "sync_states"
    __table_args__ = {"schema": "vcs"}

    repository: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class Delivery(Base):
    """A webhook delivery that was accepted: GitHub sends one again when a response is lost."""

    __tablename__ = "deliveries"
    __table_args__ = {"schema": "vcs"}

    id: Mapped[str] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class MergeQueue(Base):
    """When GitHub last reported a change of a repository's merge queue."""

    __tablename__ = "merge_queues"
    __table_args__ = {"schema": "vcs"}

    repository: Mapped[str] = mapped_column(primary_key=True)
    told_at: Mapped[datetime]


class OutboxSubject(Base):
    """One subject that GitHub should show: a status or check run of a commit, a comment, a GitHub deployment.

    Each change raises `version`; `delivered` is the version that GitHub has. `facts` are all that is
    needed to write it.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_outbox_error", "repository", postgresql_where=text("error IS NOT NULL")),
        Index("ix_outbox_changed_at", "changed_at"),
        {"schema": "vcs"},
    )

    # GitHub's copy has it too: it is found by this, should we be killed before `github_id` is stored
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    key: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    repository: Mapped[str]
    facts: Mapped[dict[str, Any]]
    position: Mapped[int] = mapped_column(BigInteger, server_default="0")
    version: Mapped[int] = mapped_column(server_default="1")
    delivered: Mapped[int] = mapped_column(server_default="0")
    state: Mapped[OutboxState] = mapped_column(TextEnum(OutboxState), server_default="pending")
    github_id: Mapped[int | None] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CloneToken(Base):
    """A token of the GitHub App that reads the contents of one repository, and nothing else."""

    __tablename__ = "clone_tokens"
    __table_args__ = {"schema": "vcs"}

    repository: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str]
    expires_at: Mapped[datetime]


class RecheckRequest(Base):
    """A request from GitHub to check a commit again, until the controller has followed it."""

    __tablename__ = "recheck_requests"
    __table_args__ = {"schema": "vcs"}

    repository: Mapped[str] = mapped_column(primary_key=True)
    commit: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    requested_at: Mapped[datetime] = mapped_column(server_default=func.now())
