"""Behind PgBouncer all works in its session mode; its other modes are refused at the start, by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from db.leader import LeaderLock
from db.listener import NotificationListener
from db.session import create_sessionmaker, notify
from tests.harness.pgbouncer import in_front_of

REFUSED = [("transaction", 20), ("transaction", 1), ("statement", 20)]


def migrate(url: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"DATABASE_URL": url}
    command = [sys.executable, "-m", "db.migrate"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("mode", "pool_size"), REFUSED)
def test_a_pooler_that_changes_sessions_is_refused_by_name(
    database_url: str, tmp_path: Path, mode: str, pool_size: int
) -> None:
    with in_front_of(database_url, tmp_path / "bouncer", mode, pool_size) as url:
        ended = migrate(url)
    assert ended.returncode == 1
    assert "as PgBouncer in transaction or statement mode does" in ended.stderr
    assert "Set `pool_mode = session`" in ended.stderr


def test_a_pooler_that_changes_sessions_loses_what_slipway_needs(database_url: str, tmp_path: Path) -> None:
    """The reason for the refusal: two leaders, and nobody is notified, without an error."""
    with in_front_of(database_url, tmp_path / "bouncer", "transaction") as url:
        leaders = [LeaderLock(url, "controller") for _ in range(2)]
        assert [leader.acquire() for leader in leaders] == [True, True]


def test_behind_a_pooler_of_sessions_all_is_as_without_it(database_url: str, tmp_path: Path) -> None:
    with in_front_of(database_url, tmp_path / "bouncer", "session") as url:
        assert migrate(url).returncode == 0
        leaders = [LeaderLock(url, "controller") for _ in range(2)]
        assert [leader.acquire() for leader in leaders] == [True, False]
        listener, sessions = NotificationListener(url, "deployments"), create_sessionmaker(url, 7)
        assert listener.wait(0)  # it has just begun
        assert not listener.wait(0)
        with sessions.begin() as session:
            notify(session, "deployments")
            assert session.connection().exec_driver_sql("SHOW statement_timeout").scalar() == "7s"
        assert listener.wait(30)
        listener.close()
        sessions.kw["bind"].dispose()
