"""Checks of a limit: seldom where they are expensive, and never put off for long."""

import time

import pytest

from common.system import limit_checks
from common.system.limit_checks import LimitCheck


def burn(seconds: float) -> bool:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return False


def seconds_until_due(check: LimitCheck) -> float:
    check.due = 0.0
    assert not check.check_if_due()
    return check.due - time.monotonic()


def test_an_expensive_check_rests_twenty_times_as_long() -> None:
    check = LimitCheck(lambda: burn(0.05), 0.1, 1, b"")
    assert 0.9 < seconds_until_due(check) <= limit_checks.MAX_PAUSE_SECONDS
    assert not check.check_if_due()


def test_a_busy_machine_puts_no_check_off() -> None:
    check = LimitCheck(lambda: bool(time.sleep(0.2)), 0.1, 1, b"")
    assert seconds_until_due(check) < 1.0


def test_no_check_is_put_off_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_checks, "MAX_PAUSE_SECONDS", 0.5)
    check = LimitCheck(lambda: burn(0.1), 0.1, 1, b"")
    assert seconds_until_due(check) <= 0.5
