"""What a model does to its worker stays with the request that it did it for."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest

from ml.sandbox.sandbox import SERVING_OOM_SCORE
from tests.harness.processes import mentioning
from tests.harness.waiting import wait_until
from tests.ml.serving.support import Load, Shop, main_py

PARALLEL = """
    import multiprocessing
    if features == "manager":
        with multiprocessing.Manager() as shared:
            return list(shared.list([1]))
    with multiprocessing.get_context(features).Pool(1) as pool:
        return pool.map(abs, [-1])
"""


def test_a_worker_may_start_processes_that_need_no_socket(shop: Shop) -> None:
    shop.publish(main_py(PARALLEL))
    for way in ("forkserver", "manager"):
        assert shop.predict(way).status_code == 500
    for way in ("fork", "spawn"):
        assert shop.predict(way).json()["prediction"] == [1]


PREDICT = """
    if features == "raise":
        raise ValueError("no such <page>")
    if features == "exit":
        sys.exit(7)
    if features == "die":
        os.kill(os.getpid(), 9)
    if features == "hang":
        time.sleep(3600)
    if features == "nan":
        return {"a": [1.0, float("inf")]}
    if features == "object":
        return object()
    if features == "close":
        os.closerange(3, 4096)
    if features == "print":
        print("a word from the model")
    if features == "deep":
        deep = []
        for _ in range(100_000):
            deep = [deep]
        return deep
    time.sleep(0.002)
    return features
"""


BATCH = "def predict_batch(self, model, rows): return [self.predict(model, row) for row in rows]"


@pytest.fixture
def patient(make_shop: Callable[..., Shop], request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A model that does what it is told to, however bad; three seconds for a prediction."""
    with make_shop(SLIPWAY_PREDICT_TIMEOUT="3").serving() as shop:
        shop.publish(main_py(PREDICT, more=getattr(request, "param", "")))
        yield shop


def test_what_answers_users_is_killed_for_memory_after_builds(shop: Shop) -> None:
    shop.publish(main_py("return [open('/proc/self/oom_score_adj').read(), os.nice(0)]"))
    assert shop.predict(1).json()["prediction"] == [f"{SERVING_OOM_SCORE}\n", os.nice(0)]


def workers(shop: Shop) -> list[psutil.Process]:
    return [
        p
        for p in mentioning(shop.settings.home / "releases")
        if "serve" in p.cmdline() and "--pass" not in p.cmdline()
    ]


def together(shop: Shop, features: list[Any]) -> list[httpx.Response]:
    """Ask for all at once."""
    barrier = threading.Barrier(len(features))

    def ask(one: Any) -> httpx.Response:
        barrier.wait()
        return shop.predict(one)

    with ThreadPoolExecutor(len(features)) as clients:
        return list(clients.map(ask, features))


@pytest.mark.parametrize("patient", ["", BATCH], ids=["plain", "batch"], indirect=True)
@pytest.mark.parametrize(
    ("features", "status", "said"),
    [
        ("raise", 500, "predict() raised ValueError: no such <page>"),
        ("exit", 500, "predict() raised SystemExit: 7"),
        ("nan", 500, "JSON cannot hold what predict() gave: the prediction['a'][1] is inf"),
        ("object", 500, "the prediction is of type builtins.object"),
        ("deep", 500, "is nested in more than 100 levels"),
        ("die", 503, "The model's process ended twice"),
        ("close", 503, "The model's process ended twice"),
        ("hang", 504, "longer than 3 s"),
    ],
)
def test_a_bad_request_and_its_neighbours_get_their_own_answers(
    patient: Shop, features: str, status: int, said: str
) -> None:
    neighbours = list(range(24))

    answers = together(patient, [*neighbours[:12], features, *neighbours[12:]])

    bad = answers.pop(12)
    assert bad.status_code == status
    assert said in bad.json()["detail"]
    assert "Traceback" not in bad.text
    assert [answer.json().get("prediction") for answer in answers] == neighbours
    assert patient.predict("after").json()["prediction"] == "after"


def test_waiting_requests_are_asked_together_where_the_model_can(shop: Shop) -> None:
    shop.publish(
        main_py(
            "time.sleep(0.2); return 1",
            more="""
                def predict_batch(self, model, rows):
                    time.sleep(0.1)
                    return [[row, len(rows)] for row in rows]
            """,
        )
    )

    answers = [answer.json()["prediction"] for answer in together(shop, list(range(16)))]

    batched = [answer for answer in answers if answer != 1]
    assert [answer[0] for answer in batched] == [n for n in range(16) if answers[n] != 1]
    assert max(answer[1] for answer in batched) > 4


@pytest.mark.parametrize("given", ["[1]", "None", "[object()] * len(rows)", "1 / 0"])
def test_a_batch_that_goes_wrong_is_asked_row_by_row(shop: Shop, given: str) -> None:
    shop.publish(main_py(more=f"def predict_batch(self, model, rows): return {given}"))

    assert [answer.json()["prediction"] for answer in together(shop, list(range(16)))] == list(range(16))


DOUBLES = """
    def predict_batch(self, model, rows):
        time.sleep(0.02)  # others collect meanwhile
        return [self.predict(model, row) for row in rows]
"""


@pytest.mark.parametrize(
    "many", [800, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
@pytest.mark.parametrize("features", ["features", "features: typing.Any", "features: typing.List[dict]"])
def test_a_batch_that_changed_its_rows_is_asked_row_by_row(
    shop: Shop, features: str, many: int, show: Callable[[str], None]
) -> None:
    row = "features[0]" if "List" in features else "features"
    shop.publish(
        main_py(
            f"{row}['x'] *= 2\nreturn 1 // ({row}['x'] > 0) and {row}['x']", more=DOUBLES, features=features
        )
    )
    rows = [{"x": 0 if number % 8 == 0 else number} for number in range(many)]

    def ask(one: dict[str, int]) -> Any:
        return shop.predict([one] if "List" in features else one).json().get("prediction")

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(ask, rows))

    right = [2 * one["x"] or None for one in rows]
    wrong = [pair for pair in zip(answers, right, strict=True) if pair[0] != pair[1]]
    show(f"{len(wrong)} of {many} answers are wrong")
    assert wrong == []


def test_a_neighbour_that_cannot_be_read_counts_as_no_death(shop: Shop) -> None:
    predict = """
        if features == "slow":
            time.sleep(2)
        died = os.path.expanduser("~/died")
        if features == "once" and not os.path.exists(died):
            open(died, "w").close()
            os.kill(os.getpid(), 9)
        return features
    """
    shop.publish(main_py(predict, "sys.setrecursionlimit(300)", BATCH))
    deep = json.loads("[" * 500 + "]" * 500)
    held = f'slipway_requests_in_flight{{model="{shop.model}"}} 1.0'
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(shop.predict, "slow")
        wait_until(lambda: held in shop.get("/metrics").text, 30, "the others have to wait")
        unreadable, once = together(shop, [deep, "once"])

    assert slow.result().status_code == 200
    assert (unreadable.status_code, once.status_code) == (400, 200)


def test_what_the_model_raised_is_in_the_log_with_its_place(patient: Shop) -> None:
    patient.predict("raise")
    patient.predict("print")

    wait_until(lambda: "a word from the model" in patient.log(1), 10, "what it says comes to the log")
    log = patient.log(1)
    assert "ValueError: no such <page>" in log
    assert "main.py" in log


def test_a_killed_worker_is_replaced_and_no_request_fails(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_WORKERS="2").serving() as shop:
        shop.publish(main_py("return features"))
        with Load(shop) as load:
            for _ in range(3):
                load.wait_for(30)
                wait_until(lambda: len(workers(shop)) == 2, 30, "both workers are there")
                workers(shop)[0].kill()
            load.wait_for(30)

    assert load.failed == []


def test_two_workers_work_at_the_same_time(make_shop: Callable[..., Shop]) -> None:
    with make_shop(SLIPWAY_WORKERS="2", SLIPWAY_PREDICT_TIMEOUT="20").serving() as shop:
        shop.publish(
            main_py("""
                if features is None:
                    return None
                meeting = os.path.expanduser("~/meeting")
                os.makedirs(meeting, exist_ok=True)
                open(os.path.join(meeting, features), "w").close()
                while len(os.listdir(meeting)) < 2:
                    time.sleep(0.01)
                return features
            """)
        )

        answers = together(shop, ["one", "other"])

    assert [answer.json()["prediction"] for answer in answers] == ["one", "other"]


def test_a_worker_that_keeps_dying_does_not_start_a_storm(patient: Shop) -> None:
    for _ in range(4):
        assert patient.predict("die").status_code == 503

    busy = patient.predict("die")
    assert busy.status_code == 503
    assert int(busy.headers["Retry-After"]) > 0
    wait_until(lambda: patient.predict("again").status_code == 200, 30, "predictions are answered again")
