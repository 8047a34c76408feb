"""People are told of a disk that is nearly full, and of no MLflow that was switched off."""

from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from common.system import disk
from db import appliance, notification_deliveries
from ml.controller.reconciler import Reconciler
from ml.settings import MlSettings

Sessions = sessionmaker[Session]
HUGE = 1 << 60  # more than any disk has


@pytest.fixture
def make_reconciler(
    sessions: Sessions,
    sessions_of: Callable[[str], Sessions],
    url_of: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], Reconciler]:
    with sessions.begin() as session:
        appliance.set_mode(session, "repository")
        notification_deliveries.set_on(session, ["somebody"])
    monkeypatch.setenv("DATABASE_URL", url_of("watch"))
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path_factory.mktemp("home") / "not-there-yet"))
    monkeypatch.setenv("SLIPWAY_REPOSITORY", "a/m")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return lambda: Reconciler(MlSettings(), sessions_of("watch"))


def list_open(sessions: Sessions) -> list[str]:
    with sessions() as session:
        rows = session.execute(text("SELECT event FROM vcs.notifications WHERE ended_at IS NULL"))
        return [event for (event,) in rows]


def test_a_disk_that_is_nearly_full_is_told_once(
    make_reconciler: Callable[[], Reconciler], sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = make_reconciler()
    controller.disk.check()
    assert list_open(sessions) == []

    monkeypatch.setattr(disk, "MIN_LOW_BYTES", HUGE)
    monkeypatch.setattr(disk, "MAX_LOW_BYTES", HUGE)
    controller.disk.check()
    with sessions() as session:
        first = session.scalar(text("SELECT message FROM vcs.notifications"))
    controller.disk.check()
    assert list_open(sessions) == ["disk.nearly_full"]
    with sessions() as session:
        assert session.scalar(text("SELECT message FROM vcs.notifications")) == first

    monkeypatch.setattr(disk, "MAX_LOW_BYTES", 0)
    make_reconciler().disk.check()  # another controller, which knows nothing of the first one
    assert list_open(sessions) == []


def test_a_problem_of_an_mlflow_that_is_off_is_over(
    make_reconciler: Callable[[], Reconciler], sessions: Sessions
) -> None:
    with sessions.begin() as session:
        appliance.set_problem(session, "tracking", "it does not answer")
    assert list_open(sessions) == ["mlflow.unreachable"]
    make_reconciler().ensure_mlflow_sync()

    assert list_open(sessions) == []
