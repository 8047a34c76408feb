"""Long loads by wrk, at a `serve` of its own process: whatever happens meanwhile, no request fails."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.serving import wrk
from benchmarks.serving.wrk import Burst
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Shop, main_py
from tests.ml.serving.test_metrics import value
from tests.ml.serving.test_workers import workers

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk makes the load: apt-get install wrk"),
]
MODEL = main_py(more="def predict_batch(self, model, rows): return rows\ndef examples(self): return [1]")


@contextmanager
def loaded(shop: Shop, connections: int = 16) -> Iterator[list[Burst]]:
    """Bursts of ten seconds, one after the other, until the block ends; what each of them got."""
    bursts: list[Burst] = []
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            bursts.append(wrk.load(f"{shop.url}/predict", "1", connections, 10))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield bursts
    finally:
        over.set()
        thread.join()


def test_a_hundred_switches_fail_no_request_of_200_000(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop()
    with shop.process():
        releases = [shop.publish(MODEL), shop.publish(MODEL)]
        with loaded(shop) as bursts:
            for number in range(100):
                shop.want(releases[number % 2])
                shop.until_live(releases[number % 2])
            wait_until(lambda: sum(burst.requests for burst in bursts) >= 200_000, 600, "200,000 requests")

    assert sum(burst.failed for burst in bursts) == 0


def test_a_worker_killed_while_both_are_ready_fails_no_request(make_shop: Callable[..., Shop]) -> None:
    shop, kills = make_shop(SLIPWAY_WORKERS="2"), 0
    with shop.process():
        shop.publish(MODEL)
        with loaded(shop) as bursts:
            while len(bursts) < 6:
                wait_until(
                    lambda: value(shop, "slipway_workers", model="web-traffic") == 2, 60, "two workers"
                )
                workers(shop)[0].kill()
                kills += 1
                wait_until(lambda: ready(shop) != 2, 60, "it is gone")

    assert kills > 6
    assert sum(burst.failed for burst in bursts) == 0


def ready(shop: Shop) -> float | None:
    return value(shop, "slipway_workers", model="web-traffic")
