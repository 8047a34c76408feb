"""The order of builds: changes before checks, one release of a model at a time."""

from ml.controller.schedule import Build, Schedule, plan_builds


def change(release: int, model: str = "a") -> Build:
    return Build(release, model, is_check=False)


def check(release: int, model: str = "a") -> Build:
    return Build(release, model, is_check=True)


def test_the_longest_waiting_is_first_and_changes_before_checks() -> None:
    planned = plan_builds([check(1, "a"), change(3, "c"), change(2, "b")], [], 2, 0)
    assert planned == Schedule([change(2, "b"), change(3, "c")], [])


def test_checks_take_what_is_left() -> None:
    assert plan_builds([check(1, "a"), change(3, "c")], [], 2, 0).start == [change(3, "c"), check(1, "a")]


def test_one_release_of_a_model_at_a_time() -> None:
    assert plan_builds([check(1), check(2)], [], 4, 0).start == [check(1)]
    assert plan_builds([check(2)], [change(1)], 4, 1) == Schedule([], [])
    assert plan_builds([change(2)], [change(1)], 4, 1) == Schedule([], [])


def test_a_change_takes_the_place_of_its_models_check() -> None:
    assert plan_builds([change(2)], [check(1)], 4, 1) == Schedule([], [check(1)])


def test_a_change_takes_any_checks_place_without_a_slot() -> None:
    running = [check(1, "a"), check(2, "b")]
    assert plan_builds([change(3, "c")], running, 2, 2) == Schedule([], [check(2, "b")])
    assert plan_builds([change(3, "c"), change(4, "d"), change(5, "e")], running, 2, 2).interrupt == [
        check(2, "b"),
        check(1, "a"),
    ]


def test_a_check_takes_nobodys_place() -> None:
    assert plan_builds([check(3, "c")], [check(1, "a")], 1, 1) == Schedule([], [])


def test_scores_take_slots_too() -> None:
    assert plan_builds([change(3)], [], 2, 2) == Schedule([], [])
