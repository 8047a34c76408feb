"""Previews of hostile models: live answers meanwhile, and nothing of them is left."""

import threading
from collections.abc import Callable

import pytest

from tests.harness.processes import mentioning
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Load, Shop, main_py
from tests.ml.serving.test_preview import THRICE, TWICE, attempt, reject, state, stop, workers
from tests.ml.serving.test_preview_checks import check, make_small, small

__all__ = ["make_small", "small"]  # fixtures
FORKS = """
    import signal, subprocess
    if features == "fork":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for number in range(200):
            if os.fork() == 0:
                os.setsid()
                os.execvp("sleep", ["sleep", "613.75"])
        return "forked"
    return features
"""


def test_forking_model_leaves_no_process(small: Shop) -> None:
    small.publish(TWICE)
    for make in (reject, check):
        release = make(small, main_py(FORKS))
        assert attempt(small, release, "fork").json()["prediction"] == "forked"
        assert mentioning("613.75") != []
        assert small.predict(2).json()["prediction"] == 4
        stop(small, release)
        assert mentioning("613.75") == []
        assert workers(small) == []


@pytest.mark.parametrize("size", [5 << 20, 1 << 30])
def test_answer_without_end_is_refused(small: Shop, size: int) -> None:
    small.publish(TWICE)
    release = reject(small, main_py(f"return 'a' * {size} if features == 'large' else features"))
    with Load(small, clients=1) as load:
        answer = attempt(small, release, "large", timeout=120)
        load.wait_for(10)
    assert answer.status_code == 500, answer.text[:300]
    assert answer.json()["title"] in ("The preview has ended", "The model failed")
    assert len(answer.content) < 10_000
    assert load.failed == []
    assert attempt(small, release, 2).json()["prediction"] == 2


def test_model_that_never_answers_is_ended(make_small: Callable[..., Shop]) -> None:
    with make_small(SLIPWAY_PREDICT_TIMEOUT="2").serving() as shop:
        shop.publish(TWICE)
        release = reject(shop, main_py("time.sleep(features)\nreturn features"))
        answer = attempt(shop, release, 600)
        assert (answer.status_code, answer.json()["title"]) == (504, "The model is too slow")
        wait_until(lambda: state(shop, release)["state"] == "stopped", 30, "its preview has ended")
        assert "it took longer than 2 s for a prediction" in state(shop, release)["reason"]
        assert workers(shop) == []
        assert shop.predict(2).json()["prediction"] == 4


def test_model_that_never_loads_is_ended(make_small: Callable[..., Shop]) -> None:
    with make_small(SLIPWAY_LOAD_TIMEOUT="2").serving() as shop:
        release = reject(shop, "import time\ntime.sleep(600)\n" + THRICE)
        answer = attempt(shop, release, 1)
        assert answer.status_code in (500, 503)
        assert "the model was not loaded within 2 s" in answer.json()["detail"]
        assert workers(shop) == []


@pytest.mark.parametrize("delay", [0, 0.002, 0.01, 0.05])
def test_model_that_ends_as_soon_as_it_is_loaded(small: Shop, delay: float) -> None:
    more = f"def examples(self):\n    threading.Timer({delay}, os._exit, [3]).start()\n    return [1]"
    release = reject(small, main_py(head="import threading", more=more))
    assert attempt(small, release, 1).status_code in (200, 500, 503)
    wait_until(lambda: state(small, release)["state"] == "stopped", 30, "its preview has ended")
    assert "ended its process with code 3" in state(small, release)["reason"]
    assert workers(small) == []


def test_many_starts_at_once_leave_two(small: Shop) -> None:
    releases = [reject(small, THRICE + f"# {number}\n") for number in range(5)]
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda number=number: found.append(attempt(small, number, 1).status_code))
        for number in releases * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(found)) == [200, 503]
    assert sum(state(small, release)["state"] == "ready" for release in releases) == 2


def test_paths_that_lead_elsewhere(small: Shop) -> None:
    secret = small.settings.home / "token"
    paths = [
        "%2e",
        "%2e%2e",
        "..%2f..%2f",
        "%2e%2e%2ftoken",
        "1%00",
        "1;2",
        "+1",
        " 1",
        "１",
        "0x1",
        "1_0",
        "-0",
    ]
    for path in paths:
        for answer in (attempt(small, path, 1), small.get(f"/releases/{path}/predict")):
            assert 300 <= answer.status_code < 500, (path, answer.status_code, answer.text[:200])
            assert not secret.exists() or secret.read_text().strip() not in answer.text
    assert workers(small) == []


def test_a_preview_of_another_model_is_beside_its_own_live(two: Shop) -> None:
    two.model = "other"
    live = two.publish(TWICE)
    release = reject(two, THRICE)
    answer = attempt(two, release, 3).json()
    assert (answer["model"], answer["prediction"]) == ("other", 9)
    assert (answer["live"]["release"], answer["live"]["prediction"]) == (live, 6)
