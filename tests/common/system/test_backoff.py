"""Exponential backoff."""

from common.system.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    assert [Backoff(0.5, 3).get_pause(failures) for failures in range(6)] == [0, 0.5, 1, 2, 3, 3]


def test_pauses_may_grow_by_another_factor() -> None:
    assert [Backoff(15, 960, 4).get_pause(failures) for failures in range(1, 6)] == [15, 60, 240, 960, 960]


def test_any_number_of_failures_has_a_pause() -> None:
    assert Backoff(15, 960, 4).get_pause(1_000_000) == 960
