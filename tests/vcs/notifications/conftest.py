"""Notifications between a real database, as the role of vcs, and real receivers on loopback."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from common.system.backoff import Backoff
from db import appliance, notification_deliveries, notifications
from db.notifications import Event
from tests.harness.receivers import SECRET, WebhookReceiver
from tests.harness.waiting import wait_until
from vcs.notifications.delivery import NotificationSender
from vcs.notifications.settings import NotificationSettings

Sessions = sessionmaker[Session]
APPRISE = Path(__file__).parents[3] / ".slipway" / "tests" / "notify" / "environment"  # kept between runs
SHORT = Backoff(0.05, 0.2)


def make_settings(**fields: str) -> NotificationSettings:
    """Settings that allow this machine, with these values."""
    names = {"webhooks": "SLIPWAY_WEBHOOKS", "notify": "SLIPWAY_NOTIFY", "public_url": "SLIPWAY_PUBLIC_URL"}
    values = {"SLIPWAY_NOTIFY_ALLOW": "127.0.0.1", "SLIPWAY_APPRISE": str(APPRISE)}
    return NotificationSettings(**values | {names.get(name, name): value for name, value in fields.items()})  # type: ignore[arg-type]


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    made.open()
    yield made
    made.close()


@pytest.fixture
def other() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    made.open()
    yield made
    made.close()


class Telling:
    """What happens in a test, and its delivery step by step; a test's clock moves what is stored."""

    def __init__(self, sessions: Sessions, own: Sessions, settings: NotificationSettings) -> None:
        self.sessions, self.own, self.settings = sessions, own, settings
        self.restart()

    def restart(self, settings: NotificationSettings | None = None) -> None:
        """Begin anew with what the database has, as after a crash."""
        self.settings = settings or self.settings
        with self.own.begin() as session:
            notification_deliveries.set_on(session, [one.key for one in self.settings.receivers])
        self.delivery = NotificationSender(self.settings, self.own, SHORT, 0.0)
        self.delivery.prepare()

    def put(self, subject: str = "release 1", event: Event = Event.REJECTED, **facts: Any) -> None:
        told = {"model": "iris", "release": 1, "commit": "a" * 40, "reason": "it is worse"} | facts
        with self.sessions.begin() as session:
            notifications.put_event(session, event, subject, told)

    def begin(self, subject: str = "disk", event: Event = Event.DISK_NEARLY_FULL, **facts: Any) -> None:
        with self.sessions.begin() as session:
            told = facts or {"free_bytes": 1, "total_bytes": 2}
            notifications.begin_state(session, event, subject, told)

    def end(self, subject: str = "disk") -> None:
        with self.sessions.begin() as session:
            notifications.end_state(session, subject)

    def deliver(self, until: Callable[[], bool], seconds: float = 30) -> None:
        wait_until(lambda: (self.delivery.deliver_next(), until())[1], seconds, "it is delivered")

    def deliver_all(self) -> None:
        """Deliver until nothing is due, now or after a rest."""

        def is_done() -> bool:
            due = None if self.delivery.deliver_next() else self.delivery.find_seconds_until_due()
            return due is None or due > 60

        wait_until(lambda: not self.delivery.deliver_next() and is_done(), 30, "nothing is due")

    def pass_time(self, interval: str) -> None:
        """Let so much time pass for all that is stored."""
        with self.own.begin() as session:
            for table, columns in (
                ("vcs.notifications", ("occurred_at", "due_at", "begun_at", "ended_at")),
                ("vcs.notification_deliveries", ("due_at", "created_at")),
            ):
                changes = ", ".join(f"{one} = {one} - interval '{interval}'" for one in columns)
                session.execute(text(f"UPDATE {table} SET {changes}"))

    def states(self) -> list[str]:
        with self.own() as session:
            rows = session.execute(text("SELECT state FROM vcs.notification_deliveries ORDER BY created_at"))
            return [state for (state,) in rows]

    def problem(self) -> str | None:
        with self.own() as session:
            return appliance.find_problem(session, "notifications")


@pytest.fixture
def telling(sessions: Sessions, sessions_of: Callable[[str], Sessions], receiver: WebhookReceiver) -> Telling:
    with sessions.begin() as session:
        appliance.set_mode(session, "repository")
    return Telling(
        sessions_of("watch"), sessions_of("vcs"), make_settings(webhooks=f"{receiver.url} {SECRET}")
    )
