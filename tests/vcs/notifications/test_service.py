"""The real service vcs tells people: also after it was killed, and never more than it should."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from db import appliance, deployments, notifications
from db.models import Release
from db.notifications import Event
from db.states import Status, Trigger
from tests.harness.receivers import SECRET, WebhookReceiver
from tests.harness.waiting import wait_until
from tests.vcs.notifications.conftest import Sessions
from tests.vcs.outbox.conftest import StartVcs, start_vcs, variables  # noqa: F401 (fixtures)

LISTENS = "datname = current_database() AND query = 'LISTEN \"notifications\"'"


def is_listening(sessions: Sessions) -> bool:
    with sessions() as session:
        return bool(session.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {LISTENS}")))


def setting(receiver: WebhookReceiver) -> dict[str, str]:
    return {
        "SLIPWAY_WEBHOOKS": f"{receiver.url} {SECRET}",
        "SLIPWAY_NOTIFY_ALLOW": "127.0.0.1",
        "SLIPWAY_PUBLIC_URL": "https://slipway.example",
        "SLIPWAY_LOG": "json",
    }


def wait_until_on(sessions: Sessions) -> None:
    def is_on() -> bool:
        with sessions() as session:
            return notifications.are_on(session)

    wait_until(is_on, 60, "vcs has stored that somebody is to be told")


def put(sessions: Sessions, number: int = 1) -> None:
    with sessions.begin() as session:
        facts = {"model": "iris", "release": number, "commit": "c", "reason": "it is worse"}
        notifications.put_event(session, Event.REJECTED, f"release {number}", facts)


def test_a_decision_is_told_of_within_seconds(
    sessions: Sessions,
    sessions_of: Callable[[str], Sessions],
    receiver: WebhookReceiver,
    start_vcs: StartVcs,  # noqa: F811
) -> None:
    start_vcs(**setting(receiver))
    wait_until_on(sessions)
    wait_until(lambda: is_listening(sessions), 30, "it listens")
    serve = sessions_of("serve")
    with sessions.begin() as session:
        release = Release(model="iris", repository="a/m", commit="c" * 40, trigger=Trigger.MERGE)
        release.status, release.artifact = Status.PASSED, "a"
        session.add(release)
    with serve.begin() as session:
        deployments.deploy(session, session.get_one(Release, release.id), who="dana", why=None)
    assert receiver.received == []
    with serve.begin() as session:
        wanted = deployments.find_wanted(session, "iris")
        assert wanted is not None
        deployments.mark_live(session, wanted)

    wait_until(lambda: receiver.types == ["release.live"], 30, "it is told")
    assert receiver.received[0].is_signed()
    assert receiver.received[0].document["data"]["url"] == f"https://slipway.example/releases/{release.id}"


def test_killed_after_delivery_it_sends_the_same_id(
    sessions: Sessions,
    receiver: WebhookReceiver,
    start_vcs: StartVcs,  # noqa: F811
) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        arrived.set()
        go_on.wait(60)

    receiver.before_answer = hold
    process = start_vcs(**setting(receiver))
    wait_until_on(sessions)
    put(sessions)
    assert arrived.wait(60)
    process.send_signal(signal.SIGKILL)  # the receiver has it, and nobody wrote that down
    process.wait()
    go_on.set()

    with sessions.begin() as session:  # the lease is over
        session.execute(text("UPDATE vcs.notification_deliveries SET due_at = now()"))
    start_vcs(**setting(receiver))
    wait_until(lambda: len(receiver.received) == 2, 60, "it is sent again")

    assert receiver.ids[0] == receiver.ids[1]
    assert all(one.is_signed() for one in receiver.received)


def test_its_secrets_are_in_no_log_and_no_process(
    sessions: Sessions,
    receiver: WebhookReceiver,
    start_vcs: StartVcs,  # noqa: F811
    tmp_path: Path,
) -> None:
    receiver.status = 401
    log = tmp_path / "log"
    process = start_vcs(log, **setting(receiver))
    wait_until_on(sessions)
    put(sessions)
    wait_until(lambda: len(receiver.received) == 3, 120, "it is tried again")
    wait_until(lambda: "was not told" in log.read_text(), 30, "the log has why")

    with sessions() as session:
        shown = log.read_text() + (appliance.find_problem(session, "notifications") or "")
    assert "it answered 401" in shown
    assert SECRET not in shown
    assert SECRET.removeprefix("whsec_") not in shown
    assert "hidden-part-of-the-path" not in shown
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            Path(f"/proc/{process.pid}/environ").read_bytes()


def test_without_receivers_nothing_runs_and_nothing_is_stored(
    sessions: Sessions,
    start_vcs: StartVcs,  # noqa: F811
) -> None:
    start_vcs()

    def has_started() -> bool:
        with sessions() as session:
            return session.scalar(text("SELECT count(*) FROM appliance")) == 1

    wait_until(has_started, 60, "vcs has started")
    put(sessions)
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM vcs.notifications")) == 0
    assert not is_listening(sessions)


def test_a_wrong_setting_ends_it_with_one_line(variables: dict[str, str]) -> None:  # noqa: F811
    wrong = {"SLIPWAY_WEBHOOKS": f"https://a.example/hidden-part {SECRET}x"}
    ended = subprocess.run(
        [sys.executable, "-m", "vcs"], env=variables | wrong, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "SLIPWAY_WEBHOOKS: the secret of webhook 1 is not base64" in ended.stderr
    assert "hidden-part" not in ended.stderr
    assert SECRET not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
