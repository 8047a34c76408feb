"""A switch drops no request, and a release that cannot answer never takes the place."""

import pytest
from sqlalchemy import text

from ml.paths import HomeLayout
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Load, Shop, main_py


def test_switching_under_a_loop_of_predictions_drops_nothing(shop: Shop) -> None:
    by_release = {shop.publish(main_py("return 0")): 0}

    with Load(shop) as load:
        for number in range(1, 6):
            load.wait_for(50)
            by_release[shop.publish(main_py(f"return {number}"))] = number
        load.wait_for(50)

    assert load.failed == []
    assert all(by_release[answer["release"]] == answer["prediction"] for _, answer in load.answers)
    assert {answer["release"] for _, answer in load.answers} == set(by_release)


def test_a_slow_prediction_is_finished_by_its_own_release(shop: Shop) -> None:
    old = shop.publish(main_py("time.sleep(0.5); return 'old'"))

    with Load(shop, clients=1) as load:
        load.wait_for(1)
        new = shop.publish(main_py("return 'new'"))
        load.wait_for(5)

    assert load.failed == []
    assert [answer["release"] for _, answer in load.answers[-3:]] == [new] * 3
    assert old in [answer["release"] for _, answer in load.answers]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (
            main_py(head="raise RuntimeError('no such column')"),
            "import main raised RuntimeError: no such column",
        ),
        (main_py(head="import nowhere_to_be_found"), "No module named 'nowhere_to_be_found'"),
        (main_py(head="os._exit(3)"), "loading the model ended its process with code 3"),
        (main_py(head="sys.exit(0)"), "left the process"),
        (main_py("return 1").replace("entry_point", "something"), "has no `entry_point`"),
        (
            main_py(more="def load(self, model): raise ValueError('bad pickle')"),
            "load() raised ValueError: bad pickle",
        ),
        (main_py("raise KeyError('Page')", features="features: int"), "predict() raised KeyError: 'Page'"),
        (main_py("return float('nan')", features="features: int"), "the prediction is nan"),
        (main_py("os._exit(1)"), "its worker ended during the health prediction"),
        (
            main_py("os.kill(os.getpid(), 9)", features="features: int"),
            "its worker ended during the health prediction",
        ),
    ],
)
def test_a_release_that_cannot_answer_never_takes_the_place(shop: Shop, broken: str, reason: str) -> None:
    good = shop.publish(main_py("return 'good'"))

    with Load(shop, clients=1, rest=0.005) as load:
        bad = shop.publish(broken, wait=False)
        deployment = shop.until(bad, "failed")
        load.wait_for(5)

    assert reason in str(deployment.reason)
    assert load.failed == []
    assert shop.served() == good
    assert reason in " ".join(shop.get("/", "text/html").text.split()).replace("&#39;", "'")


def test_of_several_decisions_the_newest_is_followed(shop: Shop) -> None:
    first = shop.publish(main_py("return 1"))
    slow = shop.publish(main_py("return 2", head="time.sleep(1)"), wait=False)
    passed_over = shop.publish(main_py("return 3"), wait=False)
    newest = shop.publish(main_py("return 4"))

    assert shop.served() == newest
    assert shop.deployment(first).state == "live"
    assert shop.deployment(passed_over).state == "overruled"
    assert shop.deployment(passed_over).reason == "a newer decision was made before it was live"
    assert shop.deployment(slow).state in ("live", "overruled")


def test_going_back_to_an_older_release_is_a_usual_switch(shop: Shop) -> None:
    old = shop.publish(main_py("return 1"))
    shop.publish(main_py("return 2"))

    shop.want(old)
    shop.until_live(old)

    assert shop.predict(0).json()["release"] == old


def begin(shop: Shop, head: str) -> int:
    """Publish a release whose start takes its time; returns while it is being started."""
    release = shop.publish(main_py("return 'overruled'", head=head), wait=False)
    wait_until(HomeLayout(shop.settings.home).log_path(release, "serve").exists, 30, "it is being started")
    return release


def test_a_start_is_given_up_when_it_is_overruled(shop: Shop) -> None:
    good = shop.publish(main_py("return 'good'"))
    slow = begin(shop, "time.sleep(600)")
    shop.want(good)
    shop.until_live(good)

    assert shop.deployment(slow).state == "overruled"
    assert shop.served() == good


def test_what_was_overruled_unheard_never_takes_the_place(shop: Shop, lines: list[str]) -> None:
    good = shop.publish(main_py("return 'good'"))
    slow = begin(shop, "time.sleep(2)")
    with shop.sessions.begin() as session:  # a decision whose NOTIFY is lost
        session.execute(
            text("UPDATE deployments SET state = 'overruled' WHERE release_id = :slow"), {"slow": slow}
        )
    with Load(shop, clients=1, rest=0.005) as load:
        wait_until(
            lambda: f"release {slow} of {shop.model} is abandoned" in "".join(lines), 60, "it is abandoned"
        )
        load.wait_for(5)

    assert {answer["release"] for _, answer in load.answers} == {good}
    assert shop.deployment(slow).state == "overruled"
