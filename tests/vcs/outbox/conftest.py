"""The outbox between a real database, the real vcs and the fake of GitHub."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from db import appliance, outbox
from db import session as db_session
from db.outbox import CommentFacts, MetricChange
from db.vcs_models import OutboxSubject
from resources.demo.github import FakeGitHub, FakePullRequests
from tests.harness.waiting import free_port, wait_until
from tests.vcs.conftest import REPOSITORY, TOKEN
from vcs.settings import VcsSettings

COMMIT = "a" * 40


class Told:
    """What a test puts into the outbox, and what came of it."""

    def __init__(self, sessions: sessionmaker[Session], github: FakeGitHub) -> None:
        self.sessions, self.github = sessions, github

    def put_status(self, description: str = "trains", model: str = "iris", **more: Any) -> None:
        facts = {"commit": COMMIT, "state": "pending"} | more
        with self.sessions.begin() as session:
            outbox.put_status(session, repository=REPOSITORY, model=model, description=description, **facts)

    def put_comment(self, summary: str, position: int = 1, number: int = 1, *, is_open: bool = True) -> None:
        facts = CommentFacts("success", summary, [MetricChange("smape", 0.1, 0.3)], details_url="/releases/1")
        with self.sessions.begin() as session:
            outbox.put_comment(
                session,
                repository=REPOSITORY,
                number=number,
                model="iris",
                head=COMMIT,
                position=position,
                facts=facts,
                is_open=is_open,
            )

    def put_deployment(self, state: Any = "in_progress", release: int = 5, **more: Any) -> None:
        with self.sessions.begin() as session:
            outbox.put_deployment(
                session,
                repository=REPOSITORY,
                release=release,
                commit=COMMIT,
                model="iris",
                state=state,
                **more,
            )

    def rows(self) -> list[OutboxSubject]:
        with self.sessions() as session:
            return list(session.scalars(select(OutboxSubject).order_by(OutboxSubject.created_at)))

    def row(self) -> OutboxSubject:
        return self.rows()[-1]

    def make_due(self) -> None:
        """Let the pauses of what is not delivered be over."""
        with self.sessions.begin() as session:
            session.execute(
                update(OutboxSubject).where(OutboxSubject.due_at.is_not(None)).values(due_at=func.now())
            )
            db_session.notify(session, outbox.CHANNEL)

    def wait(self, state: str = "delivered", seconds: float = 30) -> None:
        wait_until(lambda: {row.state for row in self.rows()} == {state}, seconds, f"all are {state}")

    def wait_for_error(self, part: str, seconds: float = 30) -> None:
        wait_until(lambda: part in (self.row().error or ""), seconds, f"the error {part!r}")

    def problem(self) -> str | None:
        with self.sessions() as session:
            return appliance.find_problem(session, "outbox")

    def writes(self) -> list[str]:
        return [line for line in self.github.log if not line.startswith("GET ")]

    def comments(self, number: int = 1) -> list[str]:
        return [one["body"] for one in self.github.written.list_comments(REPOSITORY, number)]


@pytest.fixture
def told(sessions: sessionmaker[Session], github: FakeGitHub, pulls: FakePullRequests) -> Told:
    pulls.open("Use the weekday", head="weekday", head_sha=COMMIT)
    return Told(sessions, github)


@pytest.fixture
def variables(settings: VcsSettings) -> dict[str, str]:
    return {
        **os.environ,
        "SLIPWAY_REPOSITORY": REPOSITORY,
        "SLIPWAY_PUBLIC_URL": "https://models.example.com/",
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_API_URL": settings.github_api_url,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "SLIPWAY_SINGER": str(settings.singer),
        "SLIPWAY_SYNC_SECONDS": "0",
        "VCS_PORT": str(free_port()),
    }


StartVcs = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start_vcs(variables: dict[str, str]) -> Iterator[StartVcs]:
    """Start the service `vcs`; it is killed when the test ends."""
    started: list[subprocess.Popen[bytes]] = []

    def start(log: Path | None = None, **more: str) -> subprocess.Popen[bytes]:
        command, stderr = [sys.executable, "-m", "vcs"], log.open("wb") if log else None
        started.append(subprocess.Popen(command, env=variables | more, stderr=stderr))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@contextmanager
def without_postgres(sessions: sessionmaker[Session], role: str) -> Iterator[None]:
    """Refuse a role's connections, and end those that it has."""
    with sessions.begin() as session:
        session.execute(text(f'ALTER ROLE "{role}" NOLOGIN'))
        session.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = :role"),
            {"role": role},
        )
    try:
        yield
    finally:
        with sessions.begin() as session:
            session.execute(text(f'ALTER ROLE "{role}" LOGIN'))
