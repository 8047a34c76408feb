"""A release that dies where the one before does not is rolled back; no client can bring that about."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from db.models import Deployment
from db.session import notify
from db.states import Cause, DeploymentState
from tests.harness.faults import Clock
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Load, Shop, main_py
from tests.ml.serving.test_workers import workers

SOUND = "return features"
DIES = "if features == 'poison': os._exit(3)\nreturn features"
STARTS_BUT_ONCE = """
    def load(self, model):
        marker = os.environ["HOME"] + "/started"
        if os.path.exists(marker):
            raise RuntimeError("it starts but once")
        open(marker, "w").close()
        return model
"""
REFUSES = "if features == 'poison': raise ValueError('not a number')\nreturn features"


def newest(shop: Shop) -> Deployment:
    with shop.sessions.begin() as session:
        found = session.query(Deployment).order_by(Deployment.id.desc()).first()
        assert found is not None
        return found


def test_a_release_that_dies_where_the_last_answered_goes_back(shop: Shop) -> None:
    first = shop.publish(main_py(SOUND))
    second = shop.publish(main_py(DIES))

    with Load(shop) as others:
        assert shop.predict("poison").status_code == 503
        wait_until(lambda: shop.served() == first, 60, "the first release is live again")

    assert others.failed == []
    decision = newest(shop)
    assert (decision.cause, decision.who) == (Cause.AUTOMATIC_ROLLBACK, "slipway")
    assert decision.why == f"its workers die over features that release {first} answers"  # not which
    assert shop.get(f"/releases/{second}").json()["quarantine"]["why"] == decision.why
    assert shop.predict("poison").json()["prediction"] == "poison"


def test_a_clock_that_is_ahead_keeps_no_release_that_dies(
    make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Clock(tmp_path / "time")
    clock.set(3600)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    shop = make_shop()
    with shop.process():
        first = shop.publish(main_py(SOUND))
        shop.publish(main_py(DIES))
        assert shop.predict("poison").status_code == 503
        wait_until(lambda: shop.served() == first, 60, "the first release is live again")


@pytest.mark.parametrize("before", [DIES, REFUSES])
def test_features_that_the_last_release_fails_roll_nothing_back(shop: Shop, before: str) -> None:
    shop.publish(main_py(f"print('asked', features)\n{before}"))
    first_log = shop.log(1)
    second = shop.publish(main_py(DIES))

    assert shop.predict("poison").status_code == 503

    wait_until(lambda: "asked poison" in shop.log(1)[len(first_log) :], 60, "the release before was asked")
    wait_until(lambda: len(workers(shop)) == 1, 60, "its worker has gone")
    assert newest(shop).cause is Cause.OPERATOR
    assert shop.served() == second
    assert shop.predict("fine").json()["prediction"] == "fine"


def test_workers_that_were_killed_are_no_fault_of_the_release(shop: Shop) -> None:
    """The input is answered by a fresh worker of both, so it was something else that ended them."""
    shop.publish(main_py(SOUND))
    once = "marker = os.environ['HOME'] + '/deaths'\nseen = os.path.exists(marker) and open(marker).read()\n"
    twice = "open(marker, 'a').write('x') if seen != 'xx' else None\nif seen != 'xx': os._exit(3)\n"
    told = f"print('asked')\nif features == 'poison':\n{indented(once + twice)}\nreturn features"
    second = shop.publish(main_py(told))

    assert shop.predict("poison").status_code == 503
    deaths = Path(shop.settings.home, f"releases/{second}/scratch/deaths")
    assert deaths.read_text() == "xx"
    wait_until(lambda: shop.log(second).count("asked") == 3, 60, "a fresh worker was asked too")
    assert shop.predict("poison").json()["prediction"] == "poison"
    assert newest(shop).cause is Cause.OPERATOR


def indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines())


def test_workers_that_do_not_start_again_roll_their_release_back(shop: Shop) -> None:
    first = shop.publish(main_py(SOUND))
    second = shop.publish(main_py(SOUND, more=STARTS_BUT_ONCE))

    workers(shop)[0].kill()

    wait_until(lambda: shop.served() == first, 60, "the first release is live again")
    decision = newest(shop)
    assert decision.cause is Cause.AUTOMATIC_ROLLBACK
    assert "do not start again" in (decision.why or "")
    assert "it starts but once" in (decision.why or "")
    assert shop.predict("poison").json() == {
        "prediction": "poison",
        "model": "web-traffic",
        "release": first,
        "commit": shop.release(first).commit,
    }
    assert shop.deployment(second).state is DeploymentState.LIVE  # as it was: a record


def test_a_release_that_fails_a_restart_of_serve_is_rolled_back(
    make_shop: Callable[..., Shop],
) -> None:
    shop = make_shop()
    with shop.serving():
        first = shop.publish(main_py(SOUND))
        shop.publish(main_py(SOUND, more=STARTS_BUT_ONCE))

    with shop.serving():
        wait_until(lambda: shop.get("/ready").is_success, 60, "something is live")
        assert shop.served() == first
    assert newest(shop).cause is Cause.AUTOMATIC_ROLLBACK


def test_after_its_first_minutes_a_release_stays(shop: Shop) -> None:
    shop.publish(main_py(f"print('asked', features)\n{SOUND}"))
    second = shop.publish(main_py(DIES))
    with shop.sessions.begin() as session:
        session.execute(update(Deployment).values(live_at=datetime.now(UTC) - timedelta(minutes=6)))
        notify(session, "deployments")  # has the follower look
    since = datetime.now(UTC) - timedelta(minutes=5)
    wait_until(lambda: shop.get("/").json()["since"] < since.isoformat(), 60, "the follower has looked")

    assert shop.predict("poison").status_code == 503
    assert shop.predict("fine").json()["prediction"] == "fine"
    assert shop.served() == second
    assert newest(shop).cause is Cause.OPERATOR
    assert "asked poison" not in shop.log(1)


def test_what_an_operator_made_live_again_stays(shop: Shop) -> None:
    first = shop.publish(main_py(f"print('asked', features)\n{SOUND}"))
    second = shop.publish(main_py(DIES))
    shop.predict("poison")
    wait_until(lambda: shop.served() == first, 60, "the first release is live again")

    shop.want(second)
    wait_until(lambda: shop.served() == second, 60, "the second one was deployed on purpose")
    asked = shop.log(first).count("asked poison")
    assert shop.predict("poison").status_code == 503
    assert shop.predict("fine").json()["prediction"] == "fine"
    assert newest(shop).cause is Cause.OPERATOR
    assert shop.log(first).count("asked poison") == asked
