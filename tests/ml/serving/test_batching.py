"""The queue of rows that wait for a worker."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from ml.serving.workers.batching import RequestQueue, take_frame
from ml.serving.workers.pool import mark_suspect
from ml.serving.workers.worker import RowRequest


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def make_requests(loop: asyncio.AbstractEventLoop, *names: str) -> list[RowRequest]:
    return [RowRequest(name.encode(), loop.create_future(), time.monotonic()) for name in names]


def take_names(queue: RequestQueue) -> list[str]:
    return [request.body.decode() for request in take_frame(queue, 1, 0.0)]


def test_nobody_waits_for_the_second_try_of_those_that_hung(loop: asyncio.AbstractEventLoop) -> None:
    queue = RequestQueue()
    hanging = make_requests(loop, "hang", "hung")
    queue.single.extend(make_requests(loop, "a", "b"))
    mark_suspect(hanging)
    queue.requeue(hanging)
    assert take_names(queue) == ["a", "b"]
    queue.single.extend(make_requests(loop, "c"))
    assert take_names(queue) == ["hang"]  # each suspect leaves alone
    assert take_names(queue) == ["hung"]
    assert take_names(queue) == ["c"]


def test_who_was_behind_a_crash_is_first_again(loop: asyncio.AbstractEventLoop) -> None:
    queue = RequestQueue()
    suspect, *others = make_requests(loop, "crash", "a", "b", "gone")
    queue.single.extend(make_requests(loop, "c"))
    mark_suspect([suspect])
    others[2].answer.cancel()
    queue.requeue([suspect, *others])
    assert take_names(queue) == ["a", "b", "c"]
    assert take_names(queue) == ["crash"]
