"""The workers of one release: they share what is asked, and are replaced when they die or hang."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from loguru import logger

from common.problems import Problem
from ml.errors import Rejected, Unavailable
from ml.serving import batching
from ml.serving.answers import Label, signed
from ml.serving.protocol import Garbled, Hello, PredictionJson
from ml.serving.requests import Held, overloaded, texts
from ml.serving.tally import Work
from ml.serving.validation import JsonValidator
from ml.serving.worker import Recipe, Request, Worker

WAITING = 2048  # requests that may wait; beyond it a client is told to come back
WAITING_OF_CALLS = 16_000  # rows, of calls with many
FORGIVEN = 60.0  # seconds after which a death no longer counts
HOPELESS = 2.0  # seconds: a longer pause is not worth waiting for
FAILED_STARTS = 3  # in a row, of a release that did start once
LONGEST_PAUSE = 15.0  # seconds between two tries to replace a worker that keeps dying


@dataclass(frozen=True)
class Limits:
    """How many workers, and how many seconds one may work on one row, and load the model."""

    workers: int
    predict_timeout: float
    load_timeout: float


class Pool:
    """`ask` from the moment `open` came back until `close`; `label` comes with each answer."""

    def __init__(self, recipe: Recipe, limits: Limits, label: Label, work: Work | None = None) -> None:
        self.recipe, self.limits, self.label = recipe, limits, label
        self.work = work or Work()
        self.hello = Hello()
        self.workers: list[Worker] = []
        self.waiting = batching.Line()
        self.deaths = 0
        self.crashed: Callable[[bytes], None] = lambda _: None  # hears of features that ended two workers
        self.unstartable: Callable[[str], None] = lambda _: None  # hears why no worker starts any more
        self._validator = JsonValidator()
        self._unsent = Held(what="answers wait for their clients to take them")  # of large ones
        self._failed_starts = 0  # in a row
        self._lately: deque[float] = deque()  # when the last deaths were
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self.heir: Pool | None = None  # the pool that took the place
        self._loop = asyncio.get_running_loop()

    async def open(self) -> Hello:
        """Start every worker; `Rejected` or `Unavailable` when one of them cannot hold the model."""
        starts = [self._loop.create_task(self._start()) for _ in range(self.limits.workers)]
        try:
            self.hello = (await asyncio.gather(*starts))[0]
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await self.close()
            raise
        return self.hello

    def ask(self, body: bytes, name: bytes = b"") -> "asyncio.Future[tuple[PredictionJson, Label]]":
        """The prediction's JSON and the label of whoever gave it; raises `Problem` in its place."""
        if len(self.waiting.single) >= WAITING:
            raise overloaded(f"{WAITING} predictions wait already")
        request = self._request(body, name)
        self.waiting.single.append(request)
        self._pump()
        return request.answer

    def ask_all(
        self, rows: Sequence[bytes], name: bytes
    ) -> "list[asyncio.Future[tuple[PredictionJson, Label]]]":
        """`ask` for each row of a call: all of them wait, or it raises `Problem` and none does."""
        if len(rows) == 1:
            return [self.ask(rows[0], name)]
        if self.waiting.rows_of_calls + len(rows) > WAITING_OF_CALLS:
            raise overloaded(f"{self.waiting.rows_of_calls} rows of calls with many wait already")
        requests = [self._request(row, name) for row in rows]
        self.waiting.add_call(requests)
        self._pump()
        return [request.answer for request in requests]

    def _request(self, body: bytes, name: bytes) -> Request:
        if not self.workers and self._pause() > HOPELESS:
            raise overloaded("the model's workers keep ending")
        return Request(body, self._loop.create_future(), time.monotonic(), name)

    def hand_over(self, heir: "Pool") -> None:
        """What waits here, and what comes back from workers that die from now on, is for `heir` to do."""
        self.heir = heir
        heir.waiting.join(self.waiting)
        heir._pump()

    async def drain(self) -> None:
        """Until the workers have answered what they hold; one that hangs is ended when its time is up."""
        while any(worker.held for worker in self.workers):
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """End the workers; what is still unanswered goes to the heir, or gets a 503."""
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(worker.end() for worker in self.workers), *tasks, return_exceptions=True)
        self.workers.clear()
        self._validator.close()
        for request in self.waiting:
            self._refuse(request, overloaded("the service is ending"))
        self.waiting.clear()

    async def _start(self) -> Hello:
        worker = Worker(self.label, self._freed, self._lost, self._validator, self._unsent)
        try:
            hello = await worker.start(self.recipe, self.limits.load_timeout)
        except BaseException:
            await worker.end()
            raise
        self.workers.append(worker)
        return hello

    def _freed(self, _: Worker) -> None:
        self._pump()

    def _pump(self) -> None:
        """Give what waits to the workers that are free."""
        while self.waiting.single or self.waiting.calls:
            free = [worker for worker in self.workers if worker.free]
            if not free:
                break
            cost = 0.0 if self.hello.batch else free[0].seconds_a_row
            frame = batching.take(self.waiting, len(free), cost)
            if not frame:
                break
            self.work.frames.add(len(frame))
            free[0].send(frame)
        if self._watch is None and not self._closed:
            self._watch = self._loop.call_later(min(1.0, self.limits.predict_timeout / 4), self._look)

    def _look(self) -> None:
        """Now and then while there is work: is a worker stuck, has somebody waited too long?"""
        self._watch = None
        now = time.monotonic()
        timeout = self.limits.predict_timeout
        for worker in list(self.workers):
            if worker.held and now - worker.since > timeout:
                self._stuck(worker)
        for queue in (self.waiting.single, *self.waiting.calls):
            for request in takewhile(lambda one: now - one.arrived > 2 * timeout, queue):
                self._refuse(request, overloaded("it waited for too long"))
        self.waiting.forget()
        if self.waiting or any(worker.held for worker in self.workers):
            self._pump()

    def _stuck(self, worker: Worker) -> None:
        """Refuse the prediction that takes too long; of a batch nobody knows which: each once more, alone."""
        held = list(worker.held)
        worker.held.clear()
        seconds = f"{self.limits.predict_timeout:g} s"
        whose = texts(request.name for request in (held if self.hello.batch else held[:1]))
        what = "{} worked on a prediction for more than {}: its worker is ended (request {})"
        logger.warning(what, self.label, seconds, whose)
        if self.hello.batch and len(held) > 1:
            blame(held)
        else:
            detail = f"The model took longer than {seconds} (SLIPWAY_PREDICT_TIMEOUT) for this prediction."
            self._refuse(held.pop(0), Problem(504, "The model is too slow", detail))
        worker.leave()
        self._put_back(held)

    def _lost(self, worker: Worker) -> None:
        """A worker ended, or gave back what it held: what it was working on is tried once more, alone."""
        held = list(worker.held)
        worker.held.clear()
        if worker.ended and held:
            if held[0].blamed:
                self.crashed(held[0].body)
                logger.warning("{} ended twice over request {}", self.label, texts([held[0].name]))
                self._refuse(held.pop(0), died(worker.garbled))
            else:
                blamed = held if self.hello.batch else held[:1]
                logger.warning("{} ended over request {}", self.label, texts(one.name for one in blamed))
                blame(blamed)
        if worker.ended and worker in self.workers:
            self.workers.remove(worker)
            self._keep(worker.end())
            if not self._closed and self.heir is None:
                logger.warning("a worker of {} ended, it is replaced", self.label)
                self._died()
                self._keep(self._replace())
        self._put_back(held)

    def _refuse(self, request: Request, problem: Problem) -> None:
        if not request.answer.done():
            request.answer.set_exception(signed(problem, self.label))

    def _put_back(self, requests: list[Request]) -> None:
        """In front of what waits, where they came from."""
        pool = self
        while pool.heir is not None:
            pool = pool.heir
        pool.waiting.put_back(requests)
        pool._pump()

    async def _replace(self) -> None:
        """Start another one; the more have died lately, the longer the pause before it."""
        while not self._closed and self.heir is None:
            await asyncio.sleep(self._pause())
            try:
                await self._start()
            except Exception as fault:  # noqa: BLE001 (also after a bug of ours the next try may succeed)
                ours = not isinstance(fault, (Rejected, Unavailable))
                logger.opt(exception=ours).error("no worker of {} could be started: {}", self.label, fault)
                self._died()
                self._failed_starts += isinstance(fault, Rejected)
                if self._failed_starts >= FAILED_STARTS:
                    self.unstartable(str(fault))
            else:
                self._failed_starts = 0
                self.work.restarts += 1
                self._pump()
                return

    def _pause(self) -> float:
        """Seconds; none for the first three deaths in a minute."""
        while self._lately and time.monotonic() - self._lately[0] > FORGIVEN:
            self._lately.popleft()
        many = len(self._lately) - 3
        return min(LONGEST_PAUSE, 0.25 * 2.0**many) if many > 0 else 0.0

    def _died(self) -> None:
        self.deaths += 1
        self._lately.append(time.monotonic())

    def _keep(self, work: Any) -> None:
        """Run beside everything else; the event loop itself would forget it."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def blame(requests: list[Request]) -> None:
    """Each of them may have been the end of its worker: they leave alone, and may wait anew for that."""
    for request in requests:
        request.blamed = request.alone = True
        request.arrived = time.monotonic()


def died(garbled: Garbled | None) -> Problem:
    detail = "The model's process ended twice while it worked on this prediction."
    if garbled is not None:
        detail = f"The model's process was ended twice over this prediction: {garbled}."
    return Problem(503, "The model crashed", detail, headers={"Retry-After": "5"})
