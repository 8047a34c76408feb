"""Waiting for notifications of Postgres."""

import os
import resource

from sqlalchemy.orm import Session, sessionmaker

from db.listener import NotificationListener
from db.session import notify


def test_notifications_are_heard_however_many_files_are_open(
    database_url: str, sessions: sessionmaker[Session]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        wakeup = NotificationListener(database_url, "deployments")
        assert wakeup.wait(0)  # it has just begun
        assert not wakeup.wait(0)
        with sessions.begin() as session:
            notify(session, "deployments")
        assert wakeup.wait(30)
        wakeup.wake()
        assert wakeup.wait(30)
        wakeup.close()
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_listener_that_is_closed_may_be_woken(database_url: str) -> None:
    """A service that ends wakes its threads, and one of them may have ended."""
    wakeup = NotificationListener(database_url, "deployments")
    wakeup.close()
    wakeup.wake()
    wakeup.close()
